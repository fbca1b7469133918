-- The first event that was received of each sealed object
select stream, seal, min(observed_time) as first_received, count(*) as events
from events
group by stream, seal
order by stream, seal

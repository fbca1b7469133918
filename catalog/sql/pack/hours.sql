-- Hours in which anything was received
select date_trunc('hour', observed_time) as hour, count(*) as events
from events
group by date_trunc('hour', observed_time)
order by hour

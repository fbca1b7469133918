-- Events of each day and machine
select cast(observed_time as date) as day, machine_id, count(*) as events
from events
group by cast(observed_time as date), machine_id
order by day, machine_id

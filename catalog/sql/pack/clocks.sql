-- How far the clock of each machine is from the gateway's, in whole seconds, and how often
select machine_id, clock_ahead_seconds, count(*) as events
from events
where machine_id is not null and source <> 'wharfinger'
group by machine_id, clock_ahead_seconds
order by machine_id, clock_ahead_seconds

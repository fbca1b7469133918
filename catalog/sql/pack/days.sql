-- Events of each day and class
select cast(observed_time as date) as day, coalesce(audit_class, 'none') as audit_class, count(*) as events
from events
group by cast(observed_time as date), coalesce(audit_class, 'none')
order by day, audit_class

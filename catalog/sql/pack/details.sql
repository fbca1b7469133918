-- The six details of each event, by source and class: how many events say them
select
    coalesce(source, 'none') as source,
    coalesce(audit_class, 'none') as audit_class,
    count(*) as events,
    sum(case when who is not null then 1 else 0 end) as who,
    sum(case when event_class is not null then 1 else 0 end) as what,
    sum(case when event_time is not null then 1 else 0 end) as at_time,
    sum(case when outcome is not null then 1 else 0 end) as outcome,
    sum(case when machine is not null then 1 else 0 end) as machine,
    sum(case when object is not null then 1 else 0 end) as object,
    sum(case when image is not null or image_digest is not null then 1 else 0 end) as image
from events
group by coalesce(source, 'none'), coalesce(audit_class, 'none')
order by source, audit_class

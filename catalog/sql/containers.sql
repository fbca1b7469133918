-- Containers of each machine, with their images
select
    machine,
    container_id,
    max(container_name) as container_name,
    max(image) as image,
    max(registry) as registry,
    min(event_time) as first_event,
    max(event_time) as last_event,
    sum(case when event_class = 'container.start' then 1 else 0 end) as starts,
    sum(case when event_class in ('container.die', 'container.oom') then 1 else 0 end) as ends,
    sum(case when audit_class = 'C2' then 1 else 0 end) as commands,
    count(*) as events
from events
where container_id is not null
group by machine, container_id
order by machine, container_name, container_id

-- Starts and stops of containers, by day and machine
select
    cast(event_time as date) as day,
    machine,
    sum(case when event_class = 'container.create' then 1 else 0 end) as created,
    sum(case when event_class = 'container.start' then 1 else 0 end) as started,
    sum(case when event_class = 'container.stop' then 1 else 0 end) as stopped,
    sum(case when event_class = 'container.die' then 1 else 0 end) as died,
    sum(case when event_class = 'container.die' and exit_code <> 0 then 1 else 0 end) as died_with_error,
    sum(case when event_class = 'container.oom' then 1 else 0 end) as out_of_memory,
    sum(case when event_class = 'container.destroy' then 1 else 0 end) as destroyed,
    count(distinct container_id) as containers
from events
where audit_class = 'C1'
group by cast(event_time as date), machine
order by day, machine

-- Commands and shells in containers: each one
select
    event_time,
    event_id,
    machine,
    event_class,
    coalesce(container_name, container_id) as container,
    image,
    exec_command,
    who,
    exit_code,
    outcome
from events
where audit_class = 'C2' and event_class not in ('container.resize', 'container.top')
order by event_time, stream, seal, line_number

-- Docker where it is not allowed: each finding, with what was seen
select
    event_time,
    event_id,
    machine,
    vm_group as policy_group,
    container_id,
    container_name,
    image,
    finding_id,
    finding_state,
    reason
from events
where audit_class = 'X' and rule_id = 'docker_not_allowed'
order by event_time, stream, seal, line_number

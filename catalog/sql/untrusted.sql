-- Images of registries that are not on the list: each finding
select
    event_time,
    event_id,
    machine,
    vm_group as policy_group,
    registry,
    image,
    container_id,
    container_name,
    finding_id,
    finding_state,
    reason
from events
where audit_class = 'X' and rule_id = 'untrusted_registry'
order by event_time, stream, seal, line_number

-- Findings of the policy: each, as it was told
select
    event_time,
    event_id,
    rule_id,
    rule_name,
    severity,
    machine,
    vm_group as policy_group,
    coalesce(container_name, container_id) as container,
    image,
    who,
    finding_id,
    finding_state,
    reason
from events
where audit_class = 'X' or audit_class = 'C11' and rule_id is not null
order by event_time, stream, seal, line_number

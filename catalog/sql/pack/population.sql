-- Every event of a class of the catalogue, in the order in which it was sealed
select
    audit_class, event_id, event_class, event_time, observed_time, outcome, who, machine, machine_id, vm_group,
    vm_evidence, host_name, source, peer, object, container_id, container_name, image, image_digest, exec_command,
    exit_code, target_user, src_ip, rule_id, finding_id, finding_state, reason, stream, seal, line_number
from events
where audit_class is not null
order by stream, seal, line_number

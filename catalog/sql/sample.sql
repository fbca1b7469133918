-- What a sample is drawn of: every event of a class of the catalogue
select
    audit_class, event_id, event_time, event_class, outcome, who, machine, object, container_name, image, exec_command,
    source, stream, seal, line_number, record_hash
from events
where audit_class is not null

-- Who has read, exported or checked the archive
select event_time, event_id, event_class, who, outcome, msg
from events
where audit_class = 'C10' and (event_class like 'custody.%' or event_class like 'gateway.%')
order by event_time, stream, seal, line_number

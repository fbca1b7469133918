-- Gaps: what was lost, as far as that is known
select
    event_time as told,
    event_id,
    gap_source as source,
    machine,
    period_start as gap_from,
    period_end as gap_to,
    event_count as events,
    reason as cause
from events
where audit_class = 'C10' and event_class = 'gap'
order by event_time, stream, seal, line_number

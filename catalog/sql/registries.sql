-- Registries of each machine, and whether the policy trusts them
select
    machine,
    registry,
    case when sum(case when audit_class = 'X' and rule_id = 'untrusted_registry' then 1 else 0 end) > 0 then 'untrusted' else 'no finding' end
        as judged,
    min(event_time) as first_event,
    max(event_time) as last_event,
    count(distinct image) as images,
    count(distinct container_id) as containers,
    count(*) as events
from events
where registry is not null
group by machine, registry
order by judged desc, machine, registry

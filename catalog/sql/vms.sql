-- Machines that run Docker: what was seen of each
select
    machine,
    max(vm_group) as policy_group,
    min(event_time) as first_event,
    max(event_time) as last_event,
    count(*) as events,
    count(distinct container_id) as containers,
    count(distinct image) as images,
    count(distinct registry) as registries,
    count(distinct case when audit_class = 'X' and rule_id = 'docker_not_allowed' then finding_id end) as docker_not_allowed
from events
where (audit_class in ('C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C7', 'C8') and event_class not like 'audit.%')
   or (audit_class = 'X' and rule_id = 'docker_not_allowed')
group by machine
order by machine

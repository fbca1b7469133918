-- Each machine that has spoken in the period
select
    machine_id,
    max(machine) as machine,
    max(vm_group) as policy_group,
    max(vm_tags) as tags,
    max(vm_name) as inventory_name,
    min(observed_time) as first_received,
    max(observed_time) as last_received,
    count(*) as events,
    count(distinct source) as sources,
    sum(case when audit_class = 'C10' and event_class = 'gap' then 1 else 0 end) as gaps,
    sum(case when parse_status is not null or event_class = 'unparsed' then 1 else 0 end) as not_understood
from events
where machine_id is not null
group by machine_id
order by machine_id

-- Digests: each day of the events, and whether its digest was made
with told as (
    select
        name as digest,
        cast(period_start as date) as day,
        min(case when outcome = 'success' then observed_time end) as made,
        max(case when outcome = 'success' then reason end) as result,
        max(case when outcome = 'success' then event_count end) as events,
        max(case when outcome = 'success' then object end) as file,
        max(case when outcome = 'failure' then reason end) as failure,
        sum(case when outcome = 'failure' then 1 else 0 end) as failures
    from events
    where audit_class = 'C10' and event_class = 'report.digest'
    group by name, cast(period_start as date)
),
names as (select distinct digest from told),
ends as (
    select min(day) as first_day, max(day) as last_day
    from (select cast(observed_time as date) as day from events union all select day from told) as days
),
-- The first day, and each sum of powers of two behind it: eleven years.
days as (
    select cast(first_day + d1.n + d2.n + d3.n + d4.n + d5.n + d6.n + d7.n + d8.n + d9.n + d10.n + d11.n + d12.n as date) as day, last_day
    from ends
    cross join (select interval '0' day as n union all select interval '1' day) as d1
    cross join (select interval '0' day as n union all select interval '2' day) as d2
    cross join (select interval '0' day as n union all select interval '4' day) as d3
    cross join (select interval '0' day as n union all select interval '8' day) as d4
    cross join (select interval '0' day as n union all select interval '16' day) as d5
    cross join (select interval '0' day as n union all select interval '32' day) as d6
    cross join (select interval '0' day as n union all select interval '64' day) as d7
    cross join (select interval '0' day as n union all select interval '128' day) as d8
    cross join (select interval '0' day as n union all select interval '256' day) as d9
    cross join (select interval '0' day as n union all select interval '512' day) as d10
    cross join (select interval '0' day as n union all select interval '1024' day) as d11
    cross join (select interval '0' day as n union all select interval '2048' day) as d12
)
select
    days.day as day,
    names.digest as digest,
    case
        when made is null then 'missing'
        when cast(cast(made as date) - interval '2' day as date) >= days.day then 'late'
        else 'made'
    end as state,
    result, made, events, file,
    coalesce(failures, 0) as failures,
    failure
from days
left join names on 1 = 1
left join told on told.day = days.day and told.digest = names.digest
where days.day < last_day
order by day, digest

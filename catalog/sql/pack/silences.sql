-- The longest time between two events of each machine: first and last event of each minute in which it has spoken,
-- so what is shorter than a minute is not seen
with spoken as (
    select
        machine_id,
        date_trunc('minute', observed_time) as minute,
        min(observed_time) as begins,
        max(observed_time) as ends
    from events
    where machine_id is not null
    group by machine_id, date_trunc('minute', observed_time)
),
pauses as (
    select
        machine_id,
        lag(ends) over (partition by machine_id order by minute) as silent_from,
        begins as silent_to
    from spoken
)
select machine_id, silent_from, silent_to
from pauses
where silent_from is not null and silent_to > silent_from + interval '1' minute
order by machine_id, silent_from

-- Images of each machine
select
    machine,
    image,
    max(image_digest) as image_digest,
    max(registry) as registry,
    min(event_time) as first_event,
    max(event_time) as last_event,
    count(distinct container_id) as containers,
    sum(case when event_class = 'image.pull' then 1 else 0 end) as pulls,
    count(*) as events
from events
where image is not null
group by machine, image
order by machine, image

-- What sending a message writes.

-- No statement asks by it. But `status` in its predicate made each step of a message write all indexes of the table: an
-- update is heap-only (HOT) only when no column that any index mentions has changed.
drop index message_held;

-- A lane that is busy leaves two dead entries in its indexes for each message, and a claim passes those of `chat_lane_due`
-- until vacuum. By default that comes when a fifth of all lanes have changed; here, when a hundredth of them have.
alter table chat_lane set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);

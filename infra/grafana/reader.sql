-- What the dashboards may read: counts, policies, verdicts, runs, decisions. No prompt, no answer, no item: live_requests and
-- items are left out. Run it as the owner of the tables, after `quantplay migrate`; a second time changes nothing.
GRANT USAGE ON SCHEMA quantplay TO quantplay_reader;
GRANT SELECT ON
    quantplay.decisions,
    quantplay.events,
    quantplay.incidents,
    quantplay.live_counters,
    quantplay.live_gateways,
    quantplay.live_judgements,
    quantplay.packages,
    quantplay.plans,
    quantplay.policies,
    quantplay.revalidations,
    quantplay.run_plays,
    quantplay.runs,
    quantplay.signoffs,
    quantplay.traffic_changes,
    quantplay.traffic_pointer
TO quantplay_reader;

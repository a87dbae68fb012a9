"""Everything one worker serves: routes, endpoints, volumes and published directories."""

"""Ways to bring the cluster up: `tropilla up` on one machine, and its processes one by one."""

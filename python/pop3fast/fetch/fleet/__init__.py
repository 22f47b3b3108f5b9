"""A fleet: workers that share the mailboxes of one state, so that each is fetched again and again by any of them."""

"""The admin process and what it shows: metrics, health and a page, from the scoreboard alone."""

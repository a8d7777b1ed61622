"""What is sent when, and what an answer settles, one lane per partition. Pure: no I/O, no clock, no arena."""

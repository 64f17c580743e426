"""Records to tables and figures. A pure function of the records; never imports torch."""

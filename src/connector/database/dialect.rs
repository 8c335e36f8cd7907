//! How one SQL product spells what the planner asks for. Pure. Defaults are standard SQL.

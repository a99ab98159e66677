//! The tracker's behaviour, on a clock of the tests' own.

mod drops_what_nobody_asked_for;
mod forgets_the_dead;
mod is_bounded;
mod peers;
mod relays_offers;

use super::hedges::{HEDGE_STEP_MS, STALL_MS};
use super::*;
use crate::digest::Digest;
use crate::manifest::Mode;
use crate::rng::Rng;
use crate::verify;

/// A transfer, its outputs, and the clock.
struct Rig {
    transfer: Transfer<Vec<u8>>,
    paths: Paths,
    now: Millis,
}

const LEN: usize = 256 << 10;

fn body(at: usize) -> Vec<u8> {
    vec![u8::try_from(at % 251).unwrap(); LEN]
}

fn piece(at: usize) -> Piece {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&at.to_be_bytes());
    Piece { digest: Digest(bytes), len: u32::try_from(LEN).unwrap() }
}

fn verified(at: usize) -> Verified<Vec<u8>> {
    verify::piece(body(at), LEN, piece(at).digest, &piece(at)).unwrap()
}

impl Rig {
    fn new(count: usize, share: bool, mesh: bool, local: &[usize]) -> Self {
        let here: Vec<_> = local.iter().map(|&at| piece(at).digest).collect();
        let pieces = (0..count).map(piece).collect();
        let transfer = Transfer::new(pieces, share, mesh, |p| here.contains(&p.digest));
        Self { transfer, paths: Paths::new(Mode::Offload), now: Millis(1000) }
    }

    /// A site of this mode, whose origin takes a tenth of a second, and another for each piece.
    fn of(mode: Mode, count: usize) -> Self {
        let mut rig = Self::new(count, true, true, &[]);
        rig.paths.mode = mode;
        rig.paths.origin_answered(100.0, LEN as u64, 100.0, rig.now);
        rig
    }

    fn put(&mut self, input: Input<Vec<u8>>) -> Vec<String> {
        self.transfer.handle(input, self.now, &mut self.paths);
        let mut said = Vec::new();
        while let Some(output) = self.transfer.poll() {
            said.push(match output {
                Output::Read(at) => format!("read {at}"),
                Output::Ask(priority, list) => {
                    let (places, within): (Vec<_>, Vec<_>) = list.into_iter().unzip();
                    let ahead = if priority == Priority::Background { " ahead" } else { "" };
                    let limits = within.iter().any(|&ms| ms != u32::MAX);
                    format!(
                        "ask{ahead} {places:?}{}",
                        if limits { format!(" within {within:?}") } else { String::new() }
                    )
                }
                Output::Cancel(list) => format!("cancel {list:?}"),
                Output::Fetch { run, pieces, via, is_beside } => {
                    format!("fetch {run} {pieces:?} {via:?}{}", if is_beside { " beside" } else { "" })
                }
                Output::Stop(run) => format!("stop {run}"),
                Output::Emit(reader, at, source, bytes) => {
                    assert_eq!(*bytes, body(at));
                    format!("emit {reader} {at} {source:?}")
                }
                Output::Finished(reader) => format!("finished {reader}"),
                Output::Failed(reader, fault) => format!("failed {reader} {fault:?}"),
                Output::Store(from, bodies) => format!("store {from}+{}", bodies.len()),
                Output::Stale => "stale".into(),
                Output::Wasted(source, bytes) => format!("wasted {source:?} {bytes}"),
            });
        }
        said
    }

    /// Every reader takes all that comes.
    fn open(&mut self, id: ReaderId, span: Range<usize>) -> Vec<String> {
        let count = span.len();
        let mut said = self.put(Input::Open(id, span));
        for _ in 0..count {
            said.extend(self.put(Input::Pull(id)));
        }
        said
    }

    fn fetched(&mut self, run: RunId, at: usize) -> Vec<String> {
        self.put(Input::Fetched(run, at, verified(at)))
    }

    fn wait(&mut self, ms: u64) -> Vec<String> {
        self.now = self.now + ms;
        self.put(Input::Tick)
    }
}

#[test]
fn without_a_mesh_the_whole_file_is_one_fetch_and_one_segment() {
    let mut rig = Rig::new(3, true, false, &[]);
    assert_eq!(rig.open(1, 0..3), ["fetch 1 0..3 Plain"]);
    assert_eq!(rig.fetched(1, 0), ["emit 1 0 Origin"]);
    assert_eq!(rig.fetched(1, 1), ["emit 1 1 Origin"]);
    assert_eq!(rig.fetched(1, 2), ["emit 1 2 Origin", "finished 1", "store 0+3"]);
    assert!(!rig.transfer.is_done());
    rig.put(Input::Ended(1, Ok(())));
    rig.put(Input::Stored(0..3, true));
    assert!(rig.transfer.is_done());
}

#[test]
fn what_the_store_has_is_not_fetched() {
    let mut rig = Rig::new(4, true, false, &[0, 2]);
    assert_eq!(rig.open(1, 0..4), ["read 0", "read 2", "fetch 1 1..2 Plain"]);
    assert_eq!(rig.put(Input::Read(0, Some(verified(0)))), ["emit 1 0 Cache"]);
    assert_eq!(rig.fetched(1, 1), ["emit 1 1 Origin"]);
    assert_eq!(rig.put(Input::Ended(1, Ok(()))), ["fetch 2 3..4 Plain"]);
    assert_eq!(rig.put(Input::Read(2, Some(verified(2)))), ["emit 1 2 Cache"]);
    assert_eq!(rig.fetched(2, 3), ["emit 1 3 Origin", "finished 1", "store 1+1", "store 3+1"]);
}

#[test]
fn a_readers_first_piece_is_read_before_those_that_can_wait() {
    let mut rig = Rig::new(40, false, false, &(0..40).collect::<Vec<_>>());
    assert_eq!(rig.open(1, 2..40), ["read 2", "read 3", "read 4", "read 5"]);
    let then = rig.put(Input::Read(2, Some(verified(2))));
    let window: Vec<_> = (6..35).map(|at| format!("read {at}")).collect();
    assert_eq!(then, [&["emit 1 2 Cache".to_owned()], &window[..]].concat());
}

#[test]
fn a_first_piece_that_cannot_be_read_back_holds_nothing_up() {
    let mut rig = Rig::new(40, false, false, &(0..40).collect::<Vec<_>>());
    assert_eq!(rig.open(1, 0..40), ["read 0", "read 1", "read 2", "read 3"]);
    let then = rig.put(Input::Read(0, None));
    assert_eq!(then.first().map(String::as_str), Some("read 4"));
    assert_eq!(then.last().map(String::as_str), Some("fetch 1 0..1 Plain"));
}

#[test]
fn a_piece_that_cannot_be_read_back_is_fetched() {
    let mut rig = Rig::new(1, false, false, &[0]);
    assert_eq!(rig.open(1, 0..1), ["read 0"]);
    assert_eq!(rig.put(Input::Read(0, None)), ["fetch 1 0..1 Plain"]);
}

#[test]
fn the_mesh_gives_what_it_has_and_the_origin_the_rest() {
    let mut rig = Rig::new(3, true, true, &[]);
    assert_eq!(rig.open(1, 0..3), ["ask [0, 1, 2]"]);
    assert_eq!(rig.put(Input::Gone(1)), ["fetch 1 1..2 Plain"]);
    assert_eq!(rig.put(Input::Piece(0, verified(0))), ["emit 1 0 Peer"]);
    assert_eq!(rig.fetched(1, 1), ["emit 1 1 Origin"]);
    assert_eq!(rig.put(Input::Piece(2, verified(2))), ["emit 1 2 Peer", "finished 1", "store 0+3"]);
}

#[test]
fn what_is_not_shared_is_never_asked_of_the_mesh() {
    let mut rig = Rig::new(2, false, true, &[]);
    assert_eq!(rig.open(1, 0..2), ["fetch 1 0..2 Plain"]);
}

#[test]
fn a_stalled_mesh_is_hedged_and_the_first_answer_wins() {
    let mut rig = Rig::new(8, true, true, &[]);
    rig.open(1, 0..8);
    assert_eq!(rig.transfer.deadline(), Some(Millis(1000 + STALL_MS)));
    assert_eq!(rig.wait(STALL_MS - 1), Vec::<String>::new());
    assert_eq!(rig.wait(1), ["fetch 1 0..1 Plain"]);
    assert_eq!(rig.fetched(1, 0), ["cancel [0]", "emit 1 0 Origin"]);
    assert_eq!(rig.put(Input::Piece(1, verified(1))), ["emit 1 1 Peer"]);
    rig.put(Input::Ended(1, Ok(())));
    assert_eq!(rig.wait(STALL_MS), ["fetch 2 2..3 Plain"]);
    assert_eq!(rig.put(Input::Piece(2, verified(2))), ["emit 1 2 Peer", "stop 2", "store 0+3"]);
}

#[test]
fn the_longer_a_mesh_is_silent_the_more_is_hedged() {
    let mut rig = Rig::new(16, true, true, &[]);
    rig.open(1, 0..16);
    rig.now = rig.now + (STALL_MS - HEDGE_STEP_MS);
    for (run, pieces) in [(1, 0..1), (2, 1..2), (3, 2..4), (4, 4..8), (5, 8..16)] {
        assert_eq!(rig.wait(HEDGE_STEP_MS), [format!("fetch {run} {pieces:?} Plain")]);
        for at in pieces {
            rig.fetched(run, at);
        }
        assert_eq!(rig.put(Input::Ended(run, Ok(()))), Vec::<String>::new());
    }
}

#[test]
fn the_files_of_a_worker_hedge_together() {
    let mut rig = Rig::new(1, true, true, &[]);
    let mut other = Rig::new(1, true, true, &[]);
    rig.open(1, 0..1);
    other.open(1, 0..1);
    assert_eq!(rig.wait(STALL_MS), ["fetch 1 0..1 Plain"]);
    std::mem::swap(&mut rig.paths, &mut other.paths);
    assert_eq!(other.wait(STALL_MS), Vec::<String>::new());
    assert_eq!(other.transfer.deadline(), Some(other.now + HEDGE_STEP_MS));
    assert_eq!(other.wait(HEDGE_STEP_MS), ["fetch 1 0..1 Plain"]);
}

#[test]
fn what_nobody_waits_for_is_asked_of_the_mesh_alone() {
    let mut rig = Rig::new(3, true, true, &[0]);
    assert_eq!(rig.put(Input::Ahead(1, 0..3)), ["read 0", "ask ahead [1, 2]"]);
    assert_eq!(rig.put(Input::Read(0, Some(verified(0)))), Vec::<String>::new());
    assert_eq!(rig.put(Input::Piece(1, verified(1))), Vec::<String>::new());
    for expected in ["emit 1 0 Cache", "emit 1 1 Peer"] {
        assert_eq!(rig.put(Input::Pull(1)), [expected]);
    }
    assert_eq!(rig.wait(STALL_MS * 3), Vec::<String>::new(), "nobody waits, so nothing is hedged");
    assert_eq!(rig.put(Input::Gone(2)), Vec::<String>::new());
    assert_eq!(rig.put(Input::Pull(1)), ["finished 1", "store 1+1"]);
}

#[test]
fn a_page_that_wants_what_is_fetched_ahead_goes_first() {
    let mut rig = Rig::new(2, true, true, &[]);
    assert_eq!(rig.put(Input::Ahead(1, 0..2)), ["ask ahead [0, 1]"]);
    assert_eq!(rig.open(2, 0..2), ["ask [0, 1]"]);
    assert_eq!(rig.wait(STALL_MS), ["fetch 1 0..1 Plain"]);
    assert_eq!(rig.put(Input::Piece(0, verified(0))), ["emit 2 0 Peer", "stop 1"]);
    assert_eq!(rig.put(Input::Gone(1)), ["fetch 2 1..2 Plain"]);
}

#[test]
fn what_no_neighbour_has_is_passed_over_when_fetching_ahead() {
    let mut rig = Rig::new(3, true, true, &[]);
    assert_eq!(rig.put(Input::Ahead(1, 0..3)), ["ask ahead [0, 1, 2]"]);
    rig.put(Input::Gone(0));
    rig.put(Input::Gone(1));
    rig.put(Input::Piece(2, verified(2)));
    assert_eq!(rig.put(Input::Pull(1)), ["emit 1 2 Peer", "finished 1", "store 2+1"]);
}

#[test]
fn without_a_neighbour_nothing_is_fetched_ahead() {
    let mut rig = Rig::new(2, true, false, &[]);
    assert_eq!(rig.put(Input::Ahead(1, 0..2)), Vec::<String>::new());
    assert_eq!(rig.put(Input::Pull(1)), ["finished 1"]);
    assert!(rig.transfer.is_done());
}

#[test]
fn a_mesh_that_stays_silent_is_given_up_even_where_the_origin_is_gone() {
    let mut rig = Rig::new(2, true, true, &[]);
    rig.open(1, 0..2);
    assert_eq!(rig.wait(STALL_MS), ["fetch 1 0..1 Plain"]);
    assert_eq!(rig.put(Input::Ended(1, Err(Fault::Unreachable))), Vec::<String>::new());
    while rig.now.0 < 1000 + PATIENCE_MS - STALL_MS {
        assert_eq!(rig.wait(STALL_MS), Vec::<String>::new());
    }
    assert_eq!(rig.wait(STALL_MS), ["cancel [0, 1]", "failed 1 Unreachable"]);
}

#[test]
fn a_mesh_that_is_busy_with_other_files_is_not_hedged() {
    let mut rig = Rig::new(1, true, true, &[]);
    rig.open(1, 0..1);
    for _ in 0..3 {
        assert_eq!(rig.wait(STALL_MS - 1), Vec::<String>::new());
        rig.paths.mesh_progressed(rig.now);
    }
    assert_eq!(rig.wait(STALL_MS), ["fetch 1 0..1 Plain"]);
}

#[test]
fn the_mesh_is_given_the_time_that_the_mode_allows_it() {
    let asked = |mode| Rig::of(mode, 3).open(1, 0..3);
    assert_eq!(asked(Mode::Speed), ["ask [0, 1, 2] within [200, 300, 400]"]);
    assert_eq!(asked(Mode::Balanced), ["ask [0, 1, 2] within [650, 850, 1050]"]);
    assert_eq!(asked(Mode::Offload), ["ask [0, 1, 2]"]);
}

#[test]
fn what_the_mesh_would_bring_too_late_the_origin_gives() {
    let mut rig = Rig::of(Mode::Speed, 4);
    rig.open(1, 0..4);
    let expect = vec![(0, None), (1, None), (2, Some(300)), (3, Some(400))];
    assert_eq!(rig.put(Input::Expect(expect)), ["fetch 1 0..2 Plain"]);
    assert_eq!(rig.put(Input::Piece(2, verified(2))), Vec::<String>::new());
    assert_eq!(rig.fetched(1, 0), ["emit 1 0 Origin"]);
    assert_eq!(rig.fetched(1, 1), ["emit 1 1 Origin", "emit 1 2 Peer"]);
}

#[test]
fn what_the_origin_owes_to_others_is_reckoned_with() {
    let mut rig = Rig::of(Mode::Speed, 2);
    let mut other = Rig::of(Mode::Speed, 1);
    rig.open(1, 0..2);
    rig.put(Input::Expect(vec![(0, None), (1, None)]));
    std::mem::swap(&mut rig.paths, &mut other.paths);
    assert_eq!(other.open(1, 0..1), ["ask [0] within [400]"]);
    std::mem::swap(&mut rig.paths, &mut other.paths);
    rig.fetched(1, 0);
    rig.put(Input::Ended(1, Err(Fault::Status(500))));
    std::mem::swap(&mut rig.paths, &mut other.paths);
    other.put(Input::Close(1));
    // The rest of the failed run is asked for again.
    assert_eq!(other.open(2, 0..1), ["ask [0] within [300]"]);
}

#[test]
fn a_piece_that_is_late_against_its_own_prediction_is_hedged_though_others_come() {
    let mut rig = Rig::of(Mode::Speed, 3);
    rig.open(1, 0..3);
    rig.put(Input::Expect(vec![(0, Some(100)), (1, Some(1000)), (2, Some(1000))]));
    let late = rig.paths.late(100, rig.now).since(rig.now);
    assert_eq!(rig.wait(late - 1), Vec::<String>::new());
    assert_eq!(rig.put(Input::Piece(1, verified(1))), Vec::<String>::new());
    assert_eq!(rig.transfer.deadline(), Some(rig.now + 1));
    assert_eq!(rig.wait(1), ["fetch 1 0..1 Plain"]);
    assert_eq!(rig.put(Input::Piece(0, verified(0))), ["emit 1 0 Peer", "emit 1 1 Peer", "stop 1"]);
    assert_eq!(rig.wait(500), Vec::<String>::new(), "what is not late yet is not hedged");
}

#[test]
fn a_mesh_that_does_not_say_what_it_brings_is_hedged_soon() {
    let mut rig = Rig::of(Mode::Speed, 2);
    rig.open(1, 0..2);
    assert_eq!(rig.wait(rig.paths.answer_due(rig.now).since(rig.now)), ["fetch 1 0..1 Plain"]);
    assert_eq!(rig.fetched(1, 0), ["cancel [0]", "emit 1 0 Origin"]);
    assert_eq!(rig.put(Input::Ended(1, Ok(()))), Vec::<String>::new(), "a little at first");
    assert_eq!(rig.wait(HEDGE_STEP_MS), ["fetch 2 1..2 Plain"]);
}

#[test]
fn a_late_origin_has_the_mesh_asked_for_what_it_was_too_slow_for() {
    let mut rig = Rig::of(Mode::Speed, 2);
    rig.open(1, 0..2);
    assert_eq!(rig.put(Input::Expect(vec![(0, None), (1, None)])), ["fetch 1 0..2 Plain"]);
    assert_eq!(rig.fetched(1, 0), ["emit 1 0 Origin"]);
    let late = rig.paths.late(300, rig.now).since(rig.now);
    assert_eq!(rig.wait(late - 1), Vec::<String>::new());
    assert_eq!(rig.wait(1), ["ask [1]"]);
    assert_eq!(rig.put(Input::Expect(vec![(1, Some(900))])), Vec::<String>::new());
    assert_eq!(rig.put(Input::Piece(1, verified(1))), ["emit 1 1 Peer", "finished 1", "stop 1", "store 0+2"]);
}

#[test]
fn a_reader_that_takes_its_time_does_not_make_the_origin_late() {
    let count = 2 * (WINDOW / LEN as u64) as usize;
    let mut rig = Rig::of(Mode::Speed, count);
    rig.put(Input::Open(1, 0..count));
    rig.put(Input::Expect((0..count).map(|at| (at, None)).collect()));
    let mut at = 0;
    while rig.transfer.may_fetch(1) {
        rig.fetched(1, at);
        at += 1;
    }
    assert!(at < count);
    let before = rig.paths.origin();
    assert_eq!(rig.wait(1 << 20), Vec::<String>::new(), "nobody is asked for what nobody waits for");
    assert_eq!(rig.paths.origin(), before);
}

#[test]
fn without_the_origin_a_late_mesh_is_better_than_none() {
    let mut rig = Rig::of(Mode::Speed, 2);
    rig.open(1, 0..2);
    assert_eq!(rig.put(Input::Expect(vec![(0, None), (1, None)])), ["fetch 1 0..2 Plain"]);
    assert_eq!(rig.put(Input::Ended(1, Err(Fault::Unreachable))), ["ask [0, 1]"]);
    assert_eq!(rig.put(Input::Expect(vec![(0, Some(5000)), (1, None)])), ["fetch 2 1..2 Plain"]);
    assert_eq!(rig.put(Input::Ended(2, Err(Fault::Unreachable))), Vec::<String>::new());
    assert_eq!(rig.put(Input::Piece(0, verified(0))), ["emit 1 0 Peer", "failed 1 Unreachable", "store 0+1"]);
}

#[test]
fn what_will_be_needed_may_come_late_and_from_the_origin() {
    let mut rig = Rig::of(Mode::Speed, 2);
    assert_eq!(rig.put(Input::Prefetch(1, 0..2)), ["ask ahead [0, 1]"]);
    assert_eq!(rig.put(Input::Expect(vec![(0, Some(9000)), (1, None)])), ["fetch 1 1..2 Plain"]);
    assert_eq!(rig.open(2, 0..2), ["ask [0] within [300]"], "a page that comes to want it has less time");
}

#[test]
fn when_the_mesh_goes_the_origin_gives_all() {
    let mut rig = Rig::new(3, true, true, &[]);
    rig.open(1, 0..3);
    assert_eq!(rig.put(Input::Mesh(false)), ["fetch 1 0..3 Plain"]);
}

#[test]
fn two_readers_share_one_download() {
    let mut rig = Rig::new(2, true, false, &[]);
    assert_eq!(rig.open(1, 0..2), ["fetch 1 0..2 Plain"]);
    assert_eq!(rig.open(2, 0..2), Vec::<String>::new());
    assert_eq!(rig.fetched(1, 0), ["emit 1 0 Origin", "emit 2 0 Origin"]);
    assert_eq!(rig.put(Input::Close(1)), Vec::<String>::new());
    assert_eq!(rig.fetched(1, 1), ["emit 2 1 Origin", "finished 2", "store 0+2"]);
}

#[test]
fn bytes_that_differ_are_looked_for_in_the_old_file_and_past_the_http_cache_then_fail() {
    let mut rig = Rig::new(2, true, false, &[]);
    rig.open(1, 0..2);
    rig.fetched(1, 0);
    assert_eq!(rig.put(Input::Ended(1, Err(Fault::Mismatch))), ["stale", "fetch 2 1..2 Old"]);
    assert_eq!(rig.put(Input::Ended(2, Err(Fault::Status(404)))), ["fetch 3 1..2 Reload"]);
    assert_eq!(rig.put(Input::Ended(3, Err(Fault::Mismatch))), ["failed 1 Mismatch", "store 0+1"]);
}

#[test]
fn where_a_password_is_wanted_no_older_copies_are_asked_for() {
    let mut rig = Rig::new(2, true, false, &[]);
    rig.open(1, 0..2);
    assert_eq!(rig.put(Input::Ended(1, Err(Fault::Status(401)))), ["failed 1 Status(401)"]);
    // A host may answer so for what isn't there.
    rig.open(2, 0..2);
    assert_eq!(rig.put(Input::Ended(2, Err(Fault::Status(403)))), ["fetch 3 0..2 Old"]);
}

#[test]
fn bytes_that_differed_are_what_is_said_in_the_end() {
    for last in [Fault::Status(403), Fault::Status(401), Fault::Unreachable, Fault::Private] {
        let mut rig = Rig::new(2, true, false, &[]);
        rig.open(1, 0..2);
        assert_eq!(rig.put(Input::Ended(1, Err(Fault::Mismatch))), ["stale", "fetch 2 0..2 Old"]);
        assert_eq!(rig.put(Input::Ended(2, Err(Fault::Status(403)))), ["fetch 3 0..2 Reload"]);
        assert_eq!(rig.put(Input::Ended(3, Err(last))), ["failed 1 Mismatch"], "{last}");
        rig.open(2, 0..2);
        rig.put(Input::Ended(4, Err(Fault::Status(404))));
        rig.put(Input::Ended(5, Err(Fault::Status(404))));
        assert_eq!(rig.put(Input::Ended(6, Err(Fault::Status(404)))), ["failed 2 Status(404)"], "afresh");
    }
}

#[test]
fn an_unreachable_origin_fails_only_what_nobody_has() {
    let mut rig = Rig::new(3, true, true, &[0]);
    assert_eq!(rig.open(1, 0..3), ["read 0", "ask [1, 2]"]);
    rig.put(Input::Read(0, Some(verified(0))));
    assert_eq!(rig.put(Input::Gone(2)), ["fetch 1 2..3 Plain"]);
    assert_eq!(rig.put(Input::Ended(1, Err(Fault::Unreachable))), Vec::<String>::new());
    assert_eq!(rig.put(Input::Piece(1, verified(1))), ["emit 1 1 Peer", "failed 1 Unreachable", "store 1+1"]);
}

#[test]
fn an_aborted_request_stops_its_fetch_and_keeps_what_came() {
    let mut rig = Rig::new(4, true, false, &[]);
    rig.open(1, 0..4);
    rig.fetched(1, 0);
    assert_eq!(rig.put(Input::Close(1)), ["stop 1", "store 0+1"]);
    assert_eq!(rig.put(Input::Ended(1, Err(Fault::Unreachable))), Vec::<String>::new());
}

#[test]
fn who_seeks_far_ahead_of_a_run_gets_one_of_its_own() {
    let mut rig = Rig::new(20, true, false, &[]);
    assert_eq!(rig.open(1, 0..20), ["fetch 1 0..20 Plain"]);
    rig.fetched(1, 0);
    assert_eq!(rig.open(2, 18..20), ["fetch 2 18..20 Plain beside"]);
    assert!(rig.transfer.may_fetch(1) && rig.transfer.may_fetch(2));
    assert_eq!(rig.fetched(2, 18), ["emit 2 18 Origin"]);
    assert_eq!(rig.fetched(2, 19), ["emit 2 19 Origin", "finished 2"]);
    rig.put(Input::Ended(2, Ok(())));
    for at in 1..17 {
        assert_eq!(rig.fetched(1, at)[0], format!("emit 1 {at} Origin"));
    }
    // What comes after it is here.
    let last = rig.fetched(1, 17);
    assert_eq!(last[..5], ["emit 1 17 Origin", "emit 1 18 Origin", "emit 1 19 Origin", "finished 1", "stop 1"]);
}

#[test]
fn who_seeks_away_from_a_run_does_not_wait_for_it() {
    // As a media element does: it closes its first request, and has asked for the end before.
    let mut rig = Rig::new(20, true, false, &[]);
    rig.open(1, 0..20);
    rig.fetched(1, 0);
    rig.put(Input::Open(2, 19..20));
    assert_eq!(rig.put(Input::Close(1))[0], "stop 1");
    assert!(rig.transfer.may_fetch(2));
    let mut rig = Rig::new(20, true, false, &[]);
    rig.open(1, 0..20);
    rig.fetched(1, 0);
    assert_eq!(rig.put(Input::Close(1)), ["stop 1", "store 0+1"]);
    assert_eq!(rig.open(2, 19..20), ["fetch 2 19..20 Plain"]);
}

#[test]
fn a_run_that_is_nearly_there_goes_on() {
    let mut rig = Rig::new(20, true, false, &[]);
    rig.open(1, 0..20);
    rig.fetched(1, 0);
    assert_eq!(rig.open(2, 2..4), Vec::<String>::new());
    assert_eq!(rig.put(Input::Close(1)), Vec::<String>::new());
    assert!(rig.transfer.may_fetch(1), "piece 1 is on the way to piece 2");
    rig.fetched(1, 1);
    assert_eq!(rig.fetched(1, 2), ["emit 2 2 Origin"]);
    assert_eq!(rig.fetched(1, 3)[..3], ["emit 2 3 Origin", "finished 2", "stop 1"]);
}

#[test]
fn what_the_mesh_gives_up_does_not_wait_for_a_run_that_waits_for_its_reader() {
    let window = usize::try_from(WINDOW).unwrap() / LEN;
    let mut rig = Rig::new(2 * window, true, true, &[]);
    rig.open(1, 0..2 * window);
    for at in 1..window {
        rig.put(Input::Gone(at));
    }
    // One run after the other brings all but the first.
    for (run, at) in (1..).zip(1..window) {
        rig.fetched(run, at);
        rig.put(Input::Ended(run, Ok(())));
    }
    let then = rig.put(Input::Gone(0));
    assert!(then[0].starts_with("fetch ") && then[0].contains(" 0..1 "), "{then:?}");
}

#[test]
fn a_fault_that_two_runs_have_found_is_one() {
    let mut rig = Rig::new(20, true, false, &[]);
    rig.open(1, 0..20);
    rig.open(2, 18..20);
    let first = rig.put(Input::Ended(1, Err(Fault::Mismatch)));
    assert_eq!(first, ["stale", "fetch 3 0..18 Old beside"]);
    assert_eq!(rig.put(Input::Ended(2, Err(Fault::Mismatch))), ["fetch 4 18..20 Old beside"]);
}

#[test]
fn whatever_comes_in_whatever_order_every_reader_gets_all_it_asked_for() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let count = 1 + rng.below(100) as usize;
        let here: Vec<_> = (0..count).filter(|_| rng.below(8) == 0).collect();
        let mut rig = Rig::new(count, rng.below(3) > 0, rng.below(2) > 0, &here);
        let keeps = rng.below(4) > 0;
        // What is under way: reads, pieces owed by the mesh, runs `(number, next, end)`, writes; and what each reader still gets.
        let (mut reads, mut owed, mut runs, mut writes) = (vec![], vec![], vec![], vec![]);
        let mut wanted: Map<ReaderId, Range<usize>> = Map::default();
        let mut steps = 0;
        let (mut opened, mut closed) = (0, 0);
        while opened < 8 || !wanted.is_empty() {
            steps += 1;
            assert!(steps < 20_000, "seed {seed} hangs: {wanted:?}, {runs:?}, {owed:?}, {:?}", rig.transfer.runs);
            let said = match rng.below(16) {
                0 if opened < 8 => {
                    opened += 1;
                    let start = rng.below(count as u64) as usize;
                    let span = start..start + 1 + rng.below((count - start) as u64) as usize;
                    wanted.insert(opened, span.clone());
                    rig.put(Input::Open(opened, span))
                }
                1 if !wanted.is_empty() && closed < 4 && rng.below(3) == 0 => {
                    closed += 1;
                    let id = *wanted.keys().next().unwrap();
                    wanted.remove(&id);
                    rig.put(Input::Close(id))
                }
                2..5 if !wanted.is_empty() => {
                    let id = *wanted.keys().nth(rng.below(wanted.len() as u64) as usize).unwrap();
                    rig.put(Input::Pull(id))
                }
                5 if !reads.is_empty() => {
                    let at: usize = reads.swap_remove(rng.below(reads.len() as u64) as usize);
                    rig.put(Input::Read(at, (rng.below(6) > 0).then(|| verified(at))))
                }
                6 if !owed.is_empty() => {
                    let at: usize = owed.swap_remove(rng.below(owed.len() as u64) as usize);
                    match rng.below(3) {
                        0 => rig.put(Input::Gone(at)),
                        1 => rig.put(Input::Expect(vec![(at, Some(rng.below(2000) as u32))])),
                        _ => rig.put(Input::Piece(at, verified(at))),
                    }
                }
                7 if !writes.is_empty() => rig.put(Input::Stored(writes.swap_remove(0), keeps)),
                8 => rig.wait(rng.below(300)),
                9..16 if !runs.is_empty() => {
                    let which = rng.below(runs.len() as u64) as usize;
                    let (id, next, end): (RunId, usize, usize) = runs[which];
                    if next == end {
                        runs.swap_remove(which);
                        rig.put(Input::Ended(id, Ok(())))
                    } else if !rig.transfer.may_fetch(id) {
                        vec![]
                    } else if rng.below(40) == 0 {
                        runs.swap_remove(which);
                        let ended = if rng.below(2) == 0 { Ok(()) } else { Err(Fault::Status(404)) };
                        rig.transfer.via = Via::Plain;
                        rig.put(Input::Ended(id, ended))
                    } else {
                        runs[which].1 += 1;
                        rig.fetched(id, next)
                    }
                }
                _ => vec![],
            };
            for line in said {
                let words: Vec<_> = line.split([' ', '+']).collect();
                let number = |at: usize| words[at].parse::<usize>().unwrap();
                match words[0] {
                    "read" => reads.push(number(1)),
                    "ask" => {
                        let list = line[line.find('[').unwrap() + 1..line.find(']').unwrap()].split(", ");
                        owed.extend(list.map(|at| at.parse::<usize>().unwrap()));
                    }
                    "fetch" => {
                        let (from, end) = words[2].split_once("..").unwrap();
                        runs.push((number(1) as RunId, from.parse().unwrap(), end.parse().unwrap()));
                        assert!(runs.len() <= 12, "seed {seed}: {runs:?}");
                    }
                    "stop" => runs.retain(|&(id, ..)| id != number(1) as RunId),
                    "store" => writes.push(number(1)..number(1) + number(2)),
                    "emit" => {
                        let span = wanted.get_mut(&(number(1) as ReaderId)).expect("a reader that is there");
                        assert_eq!(span.next(), Some(number(2)), "in order");
                    }
                    "finished" => {
                        let span = wanted.remove(&(number(1) as ReaderId)).unwrap();
                        assert!(span.is_empty(), "seed {seed}: {span:?} is left");
                    }
                    "failed" => panic!("seed {seed}: {line}"),
                    _ => {}
                }
            }
            let held = rig.transfer.slots.iter().filter(|slot| slot.body.is_some() && slot.local).count() as u64;
            assert!(held <= 5 * WINDOW / LEN as u64, "seed {seed}: {held} held");
        }
    }
}

#[test]
fn a_slow_reader_bounds_what_is_held() {
    let mut rig = Rig::new(400, true, false, &[]);
    rig.put(Input::Open(1, 0..400));
    let mut held = 0;
    let mut at = 0;
    while rig.transfer.may_fetch(1) {
        for line in rig.fetched(1, at) {
            if let Some((from, count)) = line.strip_prefix("store ").and_then(|l| l.split_once('+')) {
                let (from, count): (usize, usize) = (from.parse().unwrap(), count.parse().unwrap());
                rig.put(Input::Stored(from..from + count, true));
            }
        }
        at += 1;
        held = held.max(rig.transfer.slots.iter().filter(|s| s.body.is_some()).count() as u64);
    }
    assert_eq!(held, WINDOW / LEN as u64);
    assert_eq!(rig.put(Input::Pull(1))[0], "emit 1 0 Origin");
    assert!(rig.transfer.may_fetch(1));
}

#[test]
fn pieces_nobody_expects_do_no_harm() {
    let mut rig = Rig::new(2, true, true, &[]);
    assert_eq!(rig.put(Input::Piece(0, verified(0))), ["store 0+1"]);
    assert_eq!(rig.put(Input::Piece(9, verified(9))), Vec::<String>::new());
    assert_eq!(rig.put(Input::Gone(9)), Vec::<String>::new());
    assert_eq!(rig.fetched(7, 1), [format!("wasted Origin {LEN}")]);
    assert_eq!(rig.put(Input::Ended(7, Ok(()))), Vec::<String>::new());
    rig.put(Input::Pull(3));
    rig.put(Input::Stored(0..9, true));
}

#[test]
fn a_full_store_does_not_stop_the_reader() {
    let mut rig = Rig::new(2, true, false, &[]);
    rig.open(1, 0..2);
    rig.fetched(1, 0);
    assert_eq!(rig.fetched(1, 1), ["emit 1 1 Origin", "finished 1", "store 0+2"]);
    assert_eq!(rig.put(Input::Stored(0..2, false)), Vec::<String>::new());
    assert!(rig.transfer.is_done());
}

#[test]
fn what_comes_slowly_is_stored_and_given_on_before_its_segment_is_whole() {
    let mut rig = Rig::new(8, true, true, &[]);
    assert_eq!(rig.open(1, 0..8), ["ask [0, 1, 2, 3, 4, 5, 6, 7]"]);
    let after = |rig: &mut Rig, at: usize| {
        rig.now = rig.now + 300;
        rig.put(Input::Piece(at, verified(at)))
    };
    assert_eq!(after(&mut rig, 5), Vec::<String>::new());
    assert_eq!(after(&mut rig, 0), ["emit 1 0 Peer"]);
    assert_eq!(after(&mut rig, 1), ["emit 1 1 Peer", "store 5+1"]);
    assert_eq!(after(&mut rig, 2), ["emit 1 2 Peer", "store 0+3"]);
    // Nobody could have it.
    rig.put(Input::Mesh(false));
    rig.now = rig.now + 10_000;
    assert_eq!(rig.fetched(1, 3), ["emit 1 3 Origin", "store 3+1"], "a segment is whole with what is being stored");
    assert_eq!(rig.fetched(1, 4), ["emit 1 4 Origin", "emit 1 5 Peer"]);
    assert_eq!(rig.put(Input::Ended(1, Ok(()))), ["fetch 2 6..8 Plain"]);
    rig.now = rig.now + 10_000;
    assert_eq!(rig.fetched(2, 6), ["emit 1 6 Origin"]);
}

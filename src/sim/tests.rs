//! Statistics of small runs over fixed seeds.

use super::*;

fn scenario(name: &str, set: &[(&str, &str)]) -> Scenario {
    let set: Vec<_> = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Scenario::parse(Scenario::built_in(name).unwrap(), &set).unwrap()
}

fn json(summary: &Summary) -> String {
    serde_json::to_string(summary).unwrap()
}

/// What must hold of every run, whatever the scenario: bytes come from somewhere, and go where they were asked for.
fn check_books(summary: &Summary) {
    let all = &summary.all;
    assert_eq!(all.failed, 0);
    // Requests that the end of the time cut off are asked for and not answered.
    let came = all.cache + all.peer + all.origin;
    assert!(came as f64 >= 0.97 * all.asked as f64, "{came} of {}", all.asked);
    assert!(all.peer <= all.uploaded + all.wasted, "{} from peers, {} given", all.peer, all.uploaded);
    let told: u64 = summary.timeline.iter().map(|s| s.origin).sum();
    assert_eq!(told, all.origin + all.overhead);
}

#[test]
fn one_seed_is_one_result_and_another_is_another() {
    let scenario = scenario("dead-tracker", &[("visitors.count", "30")]);
    let first = json(&simulate(&scenario, 1));
    assert_eq!(first, json(&simulate(&scenario, 1)));
    assert_ne!(first, json(&simulate(&scenario, 2)));
}

#[test]
fn a_flash_crowd_takes_more_than_half_off_a_small_origin_and_is_not_slower() {
    for seed in 1..=3 {
        let summary = simulate(&scenario("flash-crowd", &[]), seed);
        check_books(&summary);
        let all = &summary.all;
        assert!(all.offload > 0.5, "{seed}: {}", all.offload);
        assert!(all.delay_ms.p50 < all.http_delay_ms.p50, "{seed}");
        assert!(all.waste < 0.03, "{seed}: {}", all.waste);
    }
}

#[test]
fn without_consent_everything_comes_from_the_origin() {
    let summary = simulate(&scenario("flash-crowd", &[("visitors.consent", "0")]), 1);
    check_books(&summary);
    let all = &summary.all;
    assert_eq!((all.peer, all.uploaded, summary.meshes), (0, 0, 0));
    assert!((-0.02..0.0).contains(&all.offload), "only Peerage's own comes on top: {}", all.offload);
    assert_eq!(summary.consenting.visits, 0);
}

#[test]
fn nobody_connects_through_a_firewall_without_udp() {
    let summary = simulate(&scenario("flash-crowd", &[("nat.blocked", "1.0")]), 1);
    check_books(&summary);
    assert!(summary.connections.0 > 0);
    assert_eq!(summary.connections.0, summary.connections.1);
    assert_eq!(summary.all.peer, 0);
}

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
    // Those who misbehave are told of in no group.
    assert!(told >= all.origin + all.overhead, "{told}");
}

#[test]
fn one_seed_is_one_result_and_another_is_another() {
    let scenario = scenario("dead-tracker", &[("visitors.count", "30")]);
    let first = json(&simulate(&scenario, 1));
    assert_eq!(first, json(&simulate(&scenario, 1)));
    assert_ne!(first, json(&simulate(&scenario, 2)));
}

#[test]
fn a_flash_crowd_takes_about_half_off_a_small_origin_and_is_faster() {
    for seed in 1..=3 {
        let summary = simulate(&scenario("flash-crowd", &[]), seed);
        check_books(&summary);
        let all = &summary.all;
        assert!(all.offload > 0.45, "{seed}: {}", all.offload);
        assert!(all.delay_ms.p50 < 0.5 * all.http_delay_ms.p50, "{seed}");
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

#[test]
fn a_day_of_a_popular_game() {
    // An eighth of a day at nearly the rate.
    let set = |consent| [("visitors.count", "200"), ("hours", "3"), ("visitors.consent", consent)];
    let summary = simulate(&scenario("game-2010", &set("1")), 1);
    check_books(&summary);
    assert_eq!(summary.timeline.iter().map(|s| s.origin).sum::<u64>(), summary.all.origin + summary.all.overhead);
    let own = &summary.consenting;
    assert!(own.offload > 0.7, "{}", own.offload);
    assert!(own.eligible > 0.8, "{}", own.eligible);
    assert!(own.waste < 0.03, "{}", own.waste);
    // Hedging is for a mesh that stalls, and here none does.
    let [_, _, not_held, late] = own.causes;
    assert!(late * 5 < not_held, "{:?}", own.causes);

    let few = simulate(&scenario("game-2010", &set("0.1")), 1);
    check_books(&few);
    assert!(few.all.offload < 0.15, "who does not consent takes from the origin: {}", few.all.offload);
    assert!((few.declining.offload).abs() < 0.03, "and fares as before: {}", few.declining.offload);
}

#[test]
fn what_the_owner_prefers_decides_between_the_bill_and_the_time() {
    let run = |mode| {
        let set = [("visitors.count", "200"), ("hours", "3"), ("peerage.mode", mode)];
        let summary = simulate(&scenario("game-2010", &set), 1);
        check_books(&summary);
        summary.consenting
    };
    let [speed, balanced, offload] = ["speed", "balanced", "offload"].map(run);
    // With an origin that is far from its limit.
    assert!(speed.delay_ms.p50 < 1.0 * speed.http_delay_ms.p50, "{:?}", speed.delay_ms);
    assert!(speed.delay_ms.p95 < 1.05 * speed.http_delay_ms.p95, "{:?}", speed.delay_ms);
    assert!(balanced.delay_ms.p50 < 2.0 * balanced.http_delay_ms.p50, "{:?}", balanced.delay_ms);
    let offloads = [speed.offload, balanced.offload, offload.offload];
    assert!(offloads.is_sorted() && offloads[0] > 0.2 && offloads[1] > 0.5, "{offloads:?}");
}

#[test]
fn misbehaving_peers_are_found_out_and_cost_little() {
    let summary = simulate(&scenario("misbehaving", &[("visitors.count", "100")]), 1);
    check_books(&summary);
    let corrupt = summary.dropped.iter().find(|(why, _)| why == "corrupt").map_or(0, |(_, n)| *n);
    assert!(summary.rejected > 0 && corrupt > 0);
    let others: u64 = summary.dropped.iter().map(|(_, n)| n).sum::<u64>() - corrupt;
    assert_eq!(others, 0, "nobody is dropped for what an honest peer does: {:?}", summary.dropped);
    let own = &summary.consenting;
    assert!(own.offload > 0.5 && own.waste < 0.05, "{} {}", own.offload, own.waste);
}

#[test]
fn a_dead_tracker_holds_nothing_up_and_meshes_form_again_when_it_is_back() {
    let summary = simulate(&scenario("dead-tracker", &[("visitors.count", "120")]), 1);
    check_books(&summary);
    let per_mesh = |from: usize, to: usize| {
        let of = &summary.timeline[from..to];
        let links: u32 = of.iter().map(|s| s.neighbours).sum();
        f64::from(links) / f64::from(of.iter().map(|s| s.meshed).sum::<u32>())
    };
    // Of 96 stretches it is dead in the 48th to the 72nd.
    let (before, dead, after) = (per_mesh(36, 48), per_mesh(62, 72), per_mesh(84, 96));
    assert!(dead < 0.7 * before && after > 1.5 * dead, "{before} {dead} {after}");
}

#[test]
fn a_new_version_spreads_with_navigations_and_costs_its_changed_pieces() {
    let summary = simulate(&scenario("version", &[("visitors.count", "150")]), 1);
    check_books(&summary);
    let newest = |at: usize| f64::from(summary.timeline[at].newest) / f64::from(summary.timeline[at].online);
    // Of 96 stretches the 32nd and the 64th begin with a version.
    assert_eq!(newest(31), 1.0);
    assert!(newest(33) < 0.5 && newest(62) > 0.8, "{} {}", newest(33), newest(62));
    let informed = |at: usize| f64::from(summary.timeline[at].informed) / f64::from(summary.timeline[at].online);
    // Within a stretch of 37 s most workers know, long before most pages do.
    assert!(informed(33) > 0.7 && informed(65) > 0.7, "{} {}", informed(33), informed(65));
    let all = &summary.all;
    assert!(all.peer + all.origin < all.http_origin, "what a version did not change is not fetched again");
    assert_eq!(summary.releases.len(), 2);
    for release in &summary.releases {
        assert!(release.present > 20 && release.left < release.present, "{release:?}");
        assert!(release.heard_s.p50.is_some_and(|s| s < 60.0), "{release:?}");
        assert!(release.held_s.p50 >= release.heard_s.p50, "{release:?}");
        assert!(release.changed > 1_000_000 && release.roots <= 1024 * u64::from(release.present), "{release:?}");
    }
}

#[test]
fn a_release_reaches_those_who_are_there_within_minutes_and_the_origin_sends_little() {
    let summary = simulate(&scenario("release", &[("visitors.count", "150")]), 1);
    check_books(&summary);
    let release = &summary.releases[0];
    assert!(release.present > 60, "{release:?}");
    assert!(release.heard_s.p99.is_some_and(|s| s < 330.0), "{release:?}");
    assert!(release.held_s.p50.is_some_and(|s| s < 300.0), "{release:?}");
    assert!(release.origin < 3 * release.changed, "{release:?}");
    assert!(release.roots <= 1024 * u64::from(release.present), "{release:?}");
}

#[test]
fn a_release_of_the_offline_shell_is_taken_from_each_other_even_by_who_comes_back() {
    // With this seed it changes two files of the shell, and not the document, which peers may not have.
    let summary = simulate(&scenario("release", &[("visitors.count", "400")]), 6);
    check_books(&summary);
    let release = &summary.releases[0];
    assert!(release.present > 150, "{release:?}");
    assert!(release.heard_s.p99.is_some_and(|s| s < 330.0), "{release:?}");
    let asked = release.origin + release.returned - release.cut_off;
    // Newcomers bring it into the swarm; otherwise more than one copy.
    assert!(4 * asked <= release.changed, "{release:?}");
}

#[test]
fn many_small_files_do_not_pay_and_are_not_held_up() {
    let summary = simulate(&scenario("wikipedia-small", &[("visitors.count", "300")]), 1);
    check_books(&summary);
    let all = &summary.all;
    assert!(all.offload < 0.0, "{}", all.offload);
    assert!(all.delay_ms.p50 < 1.1 * all.http_delay_ms.p50 && all.delay_ms.p95 < 1.1 * all.http_delay_ms.p95);
}

#[test]
fn a_plan_is_what_the_simulated_visitors_do() {
    let scenario = scenario("flash-crowd", &[("hours", "3")]);
    let plan = plan(&scenario, None, 1);
    assert_eq!(plan.len(), 10);
    assert!(plan.is_sorted_by(|a, b| a.at_s <= b.at_s) && plan.iter().all(|v| v.consents && v.at_s <= 10.0));
    // Every file is asked for once a visitor, those of the first load too.
    let site = site::Site::new(&scenario, None, 1);
    let asked: u64 = plan.iter().flat_map(|v| &v.steps).flat_map(|(_, files)| files).map(|&f| site.bytes(f)).sum();
    let shell: u64 = site.shell.iter().map(|&f| site.bytes(f)).sum();
    assert_eq!(simulate(&scenario, 1).all.asked, asked + 10 * shell);
}

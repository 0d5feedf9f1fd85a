//! Candidates that keep their SAs in etcd, on another machine: the address moves as with the embedded
//! store.

use anyhow::Result;
use vipsec_lab::etcd;
use vipsec_lab::node::Place;
use vipsec_lab::run::Lab;
use vipsec_lab::topology::{self, Site};
use vipsec_tests::cluster::Cluster;
use vipsec_tests::in_lab;

#[test]
fn a_takeover_with_etcd_keeps_everything() {
    in_lab(two_takeovers);
}

fn two_takeovers(lab: &Lab) -> Result<()> {
    let site = Site::build(lab)?;
    // On t1, which is no candidate.
    let address = site.plan.cluster.host(4);
    let (_etcd, url) = etcd::start(lab, site.node("t1")?, &address)?;
    let nodes = topology::start_cluster_with(lab, &site, Place::Etcd(url))?;
    let cluster = Cluster::with_client(lab, site, nodes)?;
    cluster.wait_for_role("b", "ready")?;
    cluster.survive_takeovers(lab, &[("a", "b"), ("b", "a")])
}

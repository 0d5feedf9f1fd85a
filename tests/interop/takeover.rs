//! A strongSwan client whose gateway changes in mid-life: everything that IKE does afterwards is
//! done with the new owner, who never saw the beginning.

use anyhow::{Result, ensure};
use vipsec_lab::command::wait_for;
use vipsec_lab::probe::Prober;
use vipsec_lab::run::Lab;
use vipsec_lab::strongswan::exchanges;
use vipsec_lab::topology::HOST;
use vipsec_tests::cluster::Cluster;
use vipsec_tests::in_lab;

#[test]
fn rekeys_go_on_after_a_takeover() {
    in_lab(|lab| {
        rekeys_go_on(lab, |cluster| {
            cluster.kill("a")?;
            cluster.wait_for_role("b", "owner")
        })
    });
}

#[test]
fn rekeys_go_on_after_a_transfer() {
    in_lab(|lab| rekeys_go_on(lab, |cluster| cluster.transfer("a", "b")));
}

fn rekeys_go_on(lab: &Lab, move_vip: impl Fn(&mut Cluster) -> Result<()>) -> Result<()> {
    let mut cluster = Cluster::start(lab)?;
    let line = format!("ping --to {HOST}");
    let mut ping = Prober::start(lab, &cluster.site.client, "ping", &line)?;
    ping.wait_until_flowing(1)?;
    // One rekey before, so that what moves is not the first SA of its line.
    rekey(&mut cluster, "the client's child", |c| c.client.swanctl("--rekey --child net"))?;
    move_vip(&mut cluster)?;
    rekey(&mut cluster, "the client's child", |c| c.client.swanctl("--rekey --child net"))?;
    rekey(&mut cluster, "the client's IKE SA", |c| c.client.swanctl("--rekey --ike gw"))?;
    rekey(&mut cluster, "our child", |c| c.node("b")?.cli("rekey child net"))?;
    rekey(&mut cluster, "our IKE SA", |c| c.node("b")?.cli("rekey ike road"))?;
    ping.finish()?;
    let counts = exchanges(&cluster.client.log()?);
    ensure!(counts["IKE_SA_INIT"] == 1 && counts["IKE_AUTH"] == 1, "{counts:?}");
    cluster.client.swanctl("--terminate --ike gw")?;
    wait_for("the SA to be gone", crate::peers::PATIENCE, || {
        Ok(cluster.node("b")?.sas()?.is_empty().then_some(()))
    })?;
    cluster.judge_wire()
}

/// Asks for a rekey and waits until the SPIs have changed and only one SA of each kind is left.
fn rekey(
    cluster: &mut Cluster,
    what: &str,
    ask: impl Fn(&mut Cluster) -> Result<String>,
) -> Result<()> {
    let before = spis(cluster)?;
    ask(cluster)?;
    wait_for(&format!("the rekey of {what}"), crate::peers::PATIENCE, || {
        let after = spis(cluster)?;
        let changed = after.len() == before.len() && after != before;
        Ok(changed.then_some(()))
    })
}

/// SPIs of all SAs of the client, if all of them are up.
fn spis(cluster: &Cluster) -> Result<Vec<String>> {
    let mut spis = Vec::new();
    for sa in cluster.client.sas()? {
        if sa.state != "ESTABLISHED" {
            return Ok(Vec::new());
        }
        spis.push(sa.spis.0);
        spis.extend(sa.children.into_iter().map(|child| child.spi_in));
    }
    Ok(spis)
}

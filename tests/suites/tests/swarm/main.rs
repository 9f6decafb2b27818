//! The whole stack on three real Swarm nodes with GlusterFS, under a steady load from outside: deployed, scaled, updated, killed
//! piece by piece, cut off, stopped and started again. One story, since each scene goes on from the last.
//!
//! `SWARM_REPORT=FILE` writes the table of what was seen.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod images;
mod load;
mod report;
mod scenes;
mod story;
mod visitors;

#[tokio::test(flavor = "multi_thread")]
async fn a_site_on_three_nodes() {
    let mut story = scenes::deployed().await.unwrap();
    let load = scenes::opened(&mut story).await.unwrap();
    scenes::scaled(&mut story).await;
    scenes::synchronised(&mut story).await;
    scenes::updated(&mut story).await;
    scenes::killed(&mut story).await;
    scenes::nodes_lost(&mut story).await;
    scenes::brick_lost(&mut story).await;
    scenes::database_crashed(&mut story).await;
    load.stop().await;
    scenes::stopped_and_started(&mut story).await;
    scenes::told(story).await.unwrap();
}

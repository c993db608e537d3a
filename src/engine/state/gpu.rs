//! GPUs that engines of several pools share by taking turns.

use std::collections::VecDeque;

use bevy_ecs::prelude::*;

use crate::base::Instant;

/// The GPUs of a pipeline stage where stages of several pools share them: as processes without
/// NVIDIA's Multi-Process Service do, they take turns. A batch has the GPUs for itself for one
/// iteration; who is ready waits in line, first come first served.
#[derive(Component, Debug, Default)]
pub struct SharedGpus {
    /// The stage whose batch runs.
    current: Option<Entity>,
    /// Stages with a batch that is ready.
    line: VecDeque<Entity>,
    /// When the last batch ended.
    pub(crate) free: Instant,
}

impl SharedGpus {
    /// A stage runs nothing, and has a batch or not. Returns the stage whose turn it is to start
    /// one, if the GPUs are free and somebody is ready.
    pub(crate) fn turn(&mut self, stage: Entity, is_ready: bool) -> Option<Entity> {
        if self.current == Some(stage) {
            self.current = None;
        }
        if is_ready && !self.line.contains(&stage) {
            self.line.push_back(stage);
        }
        if self.current.is_some() {
            return None;
        }
        self.current = self.line.pop_front();
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_ready_first_runs_first() {
        let mut world = World::new();
        let [a, b, c] = [(); 3].map(|()| world.spawn_empty().id());
        let mut gpus = SharedGpus::default();
        assert_eq!(gpus.turn(a, false), None);
        assert_eq!(gpus.turn(a, true), Some(a));
        assert_eq!(gpus.turn(c, true), None);
        assert_eq!(gpus.turn(b, true), None);
        assert_eq!(gpus.turn(b, true), None, "it is in line already");
        // The next batch of the one that ends goes to the end of the line.
        assert_eq!(gpus.turn(a, true), Some(c));
        assert_eq!(gpus.turn(c, false), Some(b));
        assert_eq!(gpus.turn(b, false), Some(a));
        assert_eq!(gpus.turn(a, false), None);
    }
}

//! The shared tree under an expression.

use std::sync::Arc;

use super::axes::Extent;
use super::leaf::Leaf;
use super::op::Op;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// The axes the value really varies over: at most those of the type.
    pub(crate) extent: Extent,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Leaf(Leaf),
    Apply(Op, Arc<Node>, Option<Arc<Node>>),
}

impl Node {
    /// Moves its arguments to `pending`.
    fn take_arguments(&mut self, pending: &mut Vec<Arc<Self>>) {
        if let Kind::Apply(_, x, y) = std::mem::replace(&mut self.kind, Kind::Leaf(Leaf::ClassCount)) {
            pending.push(x);
            pending.extend(y);
        }
    }
}

impl Drop for Node {
    /// Not by recursion: a deep expression must not overflow the thread's stack.
    fn drop(&mut self) {
        let mut pending = Vec::new();
        self.take_arguments(&mut pending);
        while let Some(node) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                node.take_arguments(&mut pending);
            }
        }
    }
}

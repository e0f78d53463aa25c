//! The scenes: moves that two ends make, and what becomes of each segment.

use Move::*;

/// One end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}
use Side::{A, B};

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// A passive open: listen(2).
    Listen(Side),
    /// An active open, from its fixed port: connect(2).
    Connect(Side),
    /// close(2).
    Close(Side),
    /// shutdown(2) of the sending direction, which the RFC calls CLOSE as well;
    /// the descriptor stays.
    Shut(Side),
    /// close(2) with SO_LINGER on and 0 seconds.
    Abort(Side),
    /// The oldest segment of this end that the wire holds arrives.
    Arrive(Side),
    /// It is lost.
    Lose(Side),
    /// This end's kernel sends again.
    Repeat(Side),
    /// The timer of TIME-WAIT is at work.
    Forget(Side),
}

/// A connection from its first move to its last.
pub(super) struct Scene {
    /// Its name, and what the questions that it gives are about.
    pub(super) name: &'static str,
    /// What happens.
    pub(super) moves: &'static [Move],
}

/// All of them; between them each arrow of RFC 9293's figure 5, but for SEND in
/// LISTEN, which Linux does not have.
pub(super) const SCENES: &[Scene] = &[
    Scene {
        name: "open-and-close",
        moves: &[
            Listen(B),
            Connect(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Close(A),
            Arrive(A),
            Arrive(B),
            Close(B),
            Arrive(B),
            Arrive(A),
            Forget(A),
        ],
    },
    Scene { name: "unused", moves: &[Listen(B), Close(B)] },
    Scene {
        name: "simultaneous-open",
        moves: &[
            Connect(A),
            Connect(B),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Arrive(B),
            Arrive(B),
            Arrive(A),
            Close(B),
            Arrive(B),
            Arrive(A),
            Close(A),
            Arrive(A),
            Arrive(B),
        ],
    },
    Scene {
        name: "simultaneous-close",
        moves: &[
            Listen(B),
            Connect(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Close(A),
            Close(B),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Arrive(B),
            Forget(A),
            Forget(B),
        ],
    },
    Scene {
        // A's segment with FIN is the first that acknowledges B's.
        name: "one-segment",
        moves: &[
            Listen(B),
            Connect(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Close(B),
            Arrive(B),
            Lose(A),
            Close(A),
            Arrive(A),
            Arrive(B),
        ],
    },
    Scene {
        name: "close-while-opening",
        moves: &[
            Connect(A),
            Connect(B),
            Arrive(A),
            Arrive(B),
            Close(A),
            Arrive(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Arrive(B),
            Arrive(B),
            Close(B),
            Arrive(B),
            Arrive(A),
        ],
    },
    Scene {
        // The SYN ACK finds nobody.
        name: "reset-while-opening",
        moves: &[
            Listen(B),
            Connect(A),
            Close(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
        ],
    },
    Scene {
        name: "reset-while-opening",
        moves: &[
            Connect(A),
            Connect(B),
            Arrive(A),
            Arrive(B),
            Abort(A),
            Lose(A),
            Arrive(A),
        ],
    },
    Scene { name: "refused", moves: &[Connect(A), Arrive(A), Arrive(B)] },
    Scene {
        name: "reset",
        moves: &[
            Listen(B),
            Connect(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Abort(A),
            Arrive(A),
        ],
    },
    Scene {
        name: "reset",
        moves: &[
            Listen(B),
            Connect(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Close(A),
            Arrive(A),
            Arrive(B),
            Abort(B),
            Arrive(B),
        ],
    },
    Scene {
        name: "reset",
        moves: &[
            Listen(B),
            Connect(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Shut(A),
            Arrive(A),
            Arrive(B),
            Abort(A),
            Arrive(A),
        ],
    },
    Scene {
        name: "lost-last-ack",
        moves: &[
            Listen(B),
            Connect(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Close(A),
            Arrive(A),
            Arrive(B),
            Close(B),
            Arrive(B),
            Lose(A),
            Repeat(B),
            Arrive(B),
            Arrive(A),
        ],
    },
    Scene {
        // A has forgotten the connection, and B does not know.
        name: "half-open",
        moves: &[
            Listen(B),
            Connect(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Abort(A),
            Lose(A),
            Close(B),
            Arrive(B),
            Arrive(A),
        ],
    },
    Scene {
        name: "half-open",
        moves: &[
            Listen(B),
            Connect(A),
            Arrive(A),
            Arrive(B),
            Arrive(A),
            Shut(A),
            Arrive(A),
            Arrive(B),
            Abort(A),
            Lose(A),
            Close(B),
            Arrive(B),
            Arrive(A),
        ],
    },
];

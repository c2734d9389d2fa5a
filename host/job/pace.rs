//! The pace of who looks at many pages: Redis serves one at a time, so whoever asks for page after page takes a large
//! part of it. A walker rests longer than it asks, and claims beside it take as long as ever.

use std::time::{Duration, Instant};

/// How long a walker rests for the time that its pages took.
const REST: u32 = 2;
/// It does not rest for less: timers are coarse.
const REST_MIN: Duration = Duration::from_millis(4);

/// The pace of one walk.
#[derive(Debug, Default)]
pub(super) struct Pace {
    due: Duration,
}

impl Pace {
    /// Waits for a page, having rested if enough is due.
    pub(super) async fn page<T>(&mut self, page: impl Future<Output = T>) -> T {
        if self.due >= REST_MIN {
            tokio::time::sleep(std::mem::take(&mut self.due)).await;
        }
        let begun = Instant::now();
        let page = page.await;
        self.due += begun.elapsed() * REST;
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn most_of_a_long_walk_is_rest() {
        let mut pace = Pace::default();
        let begun = Instant::now();
        for _ in 0..50 {
            pace.page(async { std::thread::sleep(Duration::from_millis(1)) }).await;
        }
        // 50 ms of pages, and a rest of twice that but for what is still due.
        assert!(begun.elapsed() >= Duration::from_millis(140), "{:?}", begun.elapsed());
    }
}

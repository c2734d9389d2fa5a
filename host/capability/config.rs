//! `wasi:config/store` for guests: the snapshot of settings this run was given, and under it the static ones of
//! the manifest. Never a round trip.

use super::binding::wasi::config::store::{Error, Host};
use super::view::View;

impl Host for View {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        Ok(Ok(self.settings.get(&key).or_else(|| self.scope.config.get(&key)).cloned()))
    }

    async fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        let mut all = (*self.scope.config).clone();
        all.extend(self.settings.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(Ok(all.into_iter().collect()))
    }
}

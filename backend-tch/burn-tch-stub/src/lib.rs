//! Not Burn's LibTorch backend, but what stands in its place in this workspace: see
//! `backend-tch/README.md`.
compile_error!("Burn's feature `tch` binds another LibTorch than `backend-tch` does, and one program can hold only one: leave it off");

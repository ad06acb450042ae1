//! Passes whose sums are read on the host.

use loss_core::LossError;
use loss_core::backend::{Algebra, Table};
use loss_kernels::HostTarget;
use tch::{Tensor, no_grad};

use crate::algebra::Interpreter;
use crate::error::During;
use crate::fused::{self, HostLogits};
use crate::loss::Call;
use crate::memory::Host;
use crate::operations::{Passes, to_table};

/// Statistics, and sums of gradients, as numbers on the host.
pub(crate) trait ReadBack {
    /// The statistics of the program's plan.
    fn statistics(&self, call: &Call<'_>) -> Result<Vec<Table>, LossError>;

    /// Σ_s ∂/∂z of several outputs, `[N, K]`, given each one's derivatives for the statistics.
    fn gradient_sums(&self, call: &Call<'_>, upstreams: &[Vec<Option<Table>>]) -> Result<Vec<Table>, LossError>;
}

/// By the kernels, in host memory: no gradient is stored.
pub(crate) struct OnHost {
    logits: HostLogits,
    target: HostTarget<Host>,
}

impl OnHost {
    pub(crate) fn new(call: &Call<'_>) -> Result<Self, LossError> {
        let target = fused::on_host(&call.target, &call.checked, call.loss)?;
        Ok(Self { logits: HostLogits::of(call.logits, &call.checked)?, target })
    }
}

impl ReadBack for OnHost {
    fn statistics(&self, call: &Call<'_>) -> Result<Vec<Table>, LossError> {
        fused::statistics(&self.logits, &self.target.problem()?, call.program.plan())
    }

    fn gradient_sums(&self, call: &Call<'_>, upstreams: &[Vec<Option<Table>>]) -> Result<Vec<Table>, LossError> {
        fused::gradient_sums(&self.logits, &self.target.problem()?, call.program.plan(), upstreams)
    }
}

/// On a device, which is waited for. Each gradient is stored while it is summed up.
pub(crate) struct OnDevice<'a, P>(pub(crate) &'a P);

impl<P: Passes> ReadBack for OnDevice<'_, P> {
    fn statistics(&self, call: &Call<'_>) -> Result<Vec<Table>, LossError> {
        let plan = call.program.plan();
        let statistics = no_grad(|| self.0.statistics())?;
        let tables = plan.statistics().iter().zip(&statistics);
        tables.map(|(statistic, sums)| to_table(sums, call.checked.geometry.samples, plan.columns(statistic))).collect()
    }

    fn gradient_sums(&self, call: &Call<'_>, upstreams: &[Vec<Option<Table>>]) -> Result<Vec<Table>, LossError> {
        let (geometry, wide) = (&call.checked.geometry, self.0.wide());
        let algebra = Interpreter { kind: wide, device: call.checked.device };
        let array = |table: &Option<Table>| -> Result<Option<Tensor>, LossError> {
            table.as_ref().map(|table| algebra.constant(table).map(|array| array.0)).transpose()
        };
        let size = [geometry.samples as i64, geometry.classes as i64, -1];
        let of_output = |upstream: &Vec<Option<Table>>| {
            let upstream = upstream.iter().map(array).collect::<Result<Vec<_>, _>>()?;
            let gradient = no_grad(|| self.0.gradient(&upstream))?;
            let sums = gradient.f_view(size).and_then(|planes| planes.f_sum_dim_intlist([2i64].as_slice(), false, wide));
            to_table(&sums.during("summing over pixels")?, geometry.samples, geometry.classes)
        };
        upstreams.iter().map(of_output).collect()
    }
}

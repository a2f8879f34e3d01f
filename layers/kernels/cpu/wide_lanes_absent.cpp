// Where there is no AVX-512 to compile for.
#include "layers/kernels/cpu/wide_lanes.hpp"

#include "core/error.hpp"
#include "layers/kernels/cpu/attention_rows.hpp"
#include "layers/kernels/cpu/attention_strips.hpp"

namespace sluice::kernels {

namespace {

void refuse() { SLUICE_CHECK(false, "there are no wide lanes on this kind of processor"); }

} // namespace

bool has_wide_lanes() { return false; }

void multiply_two_panels(Start, const StripFactors&, const PanelFactors&, std::int64_t, float*,
                         std::int64_t)
{
    refuse();
}

RowSum softmax_row(const ScoreRow&, float, BFloat16*)
{
    refuse();
    return {};
}

void score_gradient_row(const ScoreRow&, const RowGradient&, BFloat16*, BFloat16*) { refuse(); }

} // namespace sluice::kernels

// Where there is no AVX-512 to compile for.
#include "core/error.hpp"
#include "layers/kernels/cpu/attention_strips.hpp"

namespace sluice::kernels {

std::int64_t panels_at_once() { return 1; }

void multiply_two_panels(Start, const StripFactors&, const PanelFactors&, std::int64_t, float*,
                         std::int64_t)
{
    SLUICE_CHECK(false, "one panel at a time on this kind of processor");
}

} // namespace sluice::kernels

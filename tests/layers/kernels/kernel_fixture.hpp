// One operation's tensors twice: float64 for the reference, float32 with the same values for the
// kernel under test, on a pointer that is not aligned and between guards.
#pragma once

#include "core/parallel.hpp"
#include "core/tensor_view.hpp"
#include "layers/kernels/launch.hpp"

#include <cstdint>
#include <functional>
#include <vector>

namespace sluice::testing {

inline constexpr Stream reference{.backend = Backend::reference};
inline constexpr Stream cpu{.backend = Backend::cpu};
/// Distance between 1 and the next float.
inline constexpr double epsilon = 1.0 / (1 << 23);

class Twin {
public:
    explicit Twin(const Shape& shape);
    /// Normal numbers times `scale`, rounded to float in both.
    static Twin random(const Shape& shape, std::uint64_t seed, double scale = 1.0);
    /// NaN everywhere: whatever is not overwritten, or read before, shows.
    static Twin poisoned(const Shape& shape);

    TensorView in_float64() { return view_of(values.data(), shape_); }
    TensorView in_float32() { return view_of(floats_.data() + guard, shape_); }
    std::span<const float> floats() const
    {
        return {floats_.data() + guard, static_cast<std::size_t>(shape_.num_elements())};
    }
    bool guards_intact() const;

    std::vector<double> values;

private:
    /// Odd, so that no vector access is aligned.
    static constexpr std::size_t guard = 17;

    Shape shape_;
    std::vector<float> floats_;
};

/// Launches make(side) on both backends, where side(twin) is the twin's view on that backend.
template <class Make>
void launch_both(Make&& make)
{
    kernels::launch(reference, make([](Twin& twin) { return twin.in_float64(); }));
    kernels::launch(cpu, make([](Twin& twin) { return twin.in_float32(); }));
}

/// No element differs by more than `tolerance`, none is NaN, and the guards are untouched.
void check_close(const Twin& twin, double tolerance, const std::string& what);

/// The floats of `result` after run(fresh copies) on 1, 2 and 3 threads are the same bits.
/// `run` builds its tensors anew, launches, and returns the outputs.
void check_same_bits_on_any_threads(const std::function<std::vector<float>()>& run);

/// `gradient` of the scalar `loss`, which reads `x`, against central differences: every `stride`-th
/// element. float64; step 1e-5 leaves about 1e-9 of error at values near 1.
void check_gradient(std::vector<double>& x, const std::vector<double>& gradient,
                    const std::function<double()>& loss, std::size_t stride = 1);

/// sum of x * weights: a loss whose gradient with respect to x is `weights`.
double dot(const std::vector<double>& x, const std::vector<double>& weights);

} // namespace sluice::testing

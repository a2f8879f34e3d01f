// How far a loss stands out from those before it: the spike score of the paper (a point many
// standard deviations from the rolling mean of the updates before), as a running judgement.
//
// A pure function of the last losses, which are the same to the bit in any layout and travel in
// checkpoints: the judgement is the same wherever a run was stopped and resumed.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace sluice {

class LossSpikes {
public:
    /// `window`: losses to compare with; 0: none are kept.
    explicit LossSpikes(std::size_t window);

    /// Standard deviations by which `loss` lies above the mean of the window; below it: negative;
    /// 0 until the window is full. A standard deviation below 0.1% of the mean counts as that:
    /// in a flat curve every ripple would stand out.
    double deviation_of(double loss) const;
    void add(double loss);

    /// Oldest first, at most `window`.
    const std::vector<double>& recent() const { return recent_; }
    /// The last `window` of `losses` at most.
    void restore(std::span<const double> losses);

private:
    std::size_t window_;
    std::vector<double> recent_;
};

} // namespace sluice

// Brings the optimizer moments that replicas share out together on replica 0, one parameter's
// moment at a time, so that a checkpoint needs no memory of its own.
//
// The memory is that of the parameter's gradient, which holds nothing between two updates.
#pragma once

#include "pipeline/replicas.hpp"
#include "pipeline/stage.hpp"

#include <cstddef>
#include <vector>

namespace sluice {

class MomentGather {
public:
    MomentGather(Stage& stage, const Replicas& replicas);

    /// Two per parameter of the stage, in order: its first and its second moment.
    std::size_t num_moments() const { return 2 * entries_.size(); }
    /// Where take(moment) leaves it, in the parameter's shape; the moment itself where there is one
    /// replica.
    TensorView view(std::size_t moment) const;

    /// On replica 0, for each moment in order, while the others are in give_all(). OVERWRITES the
    /// gradient of the parameter.
    void take(std::size_t moment);
    /// On replica 0: takes what was not taken yet, so that nobody waits for ever.
    void take_the_rest();
    /// On other replicas.
    void give_all();

private:
    struct Entry {
        const Parameter* parameter = nullptr;
        std::vector<ElementRange> owned; ///< [replica]
    };
    const TensorView& own(std::size_t moment) const;

    Stream stream_;
    const Replicas& replicas_;
    std::vector<Entry> entries_;
    std::size_t num_taken_ = 0;
};

} // namespace sluice

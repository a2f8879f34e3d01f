// What checkpoints hold of each parameter, brought together on replica 0 where replicas share it
// out, one array at a time, so that a checkpoint needs no memory of its own.
//
// The memory is that of the parameter's gradient, which holds nothing between two updates.
#pragma once

#include "pipeline/replicas.hpp"
#include "pipeline/stage.hpp"

#include <array>
#include <cstddef>
#include <vector>

namespace sluice {

/// The groups of a checkpoint that have an array per parameter, in the order of StateGather.
inline constexpr std::array state_groups{"parameters", "optimizer/first_moment",
                                         "optimizer/second_moment"};

/// All groups, or the first of them only.
enum class Gathered : bool { weights, all };

class StateGather {
public:
    StateGather(Stage& stage, const Replicas& replicas, Gathered gathered = Gathered::all);

    /// One per parameter of the stage and group: its weight (the master, where it has one), then
    /// its moments.
    std::size_t num_arrays() const { return num_groups_ * entries_.size(); }
    /// Where take(array) leaves it, in the parameter's shape: where it is, if all of it is here.
    TensorView view(std::size_t array) const;

    /// On replica 0, for each array in order, while the others are in give_all(). OVERWRITES the
    /// parameter's gradient by what others hold parts of.
    void take(std::size_t array);
    /// On replica 0: takes what was not taken yet, so that nobody waits for ever.
    void take_the_rest();
    /// On other replicas.
    void give_all();

private:
    struct Entry {
        const Parameter* parameter = nullptr;
        std::vector<ElementRange> owned; ///< [replica]
    };
    const Entry& entry(std::size_t array) const { return entries_[array / num_groups_]; }
    const TensorView& own(std::size_t array) const;
    bool is_shared_out(std::size_t array) const;

    Stream stream_;
    const Replicas& replicas_;
    std::size_t num_groups_;
    std::vector<Entry> entries_;
    std::size_t num_taken_ = 0;
};

} // namespace sluice

// What replicas of one stage exchange in an update: the sums of their gradients, and the weights
// that follow from them (ZeRO stage 1: Rajbhandari et al. 2020, arXiv:1910.02054).
//
// Every group of parameters (layers/parameter_memory.hpp) is cut into R parts, one per replica.
// The owner of a part receives the other replicas' gradients of it and adds all of them in the
// order of the replicas, in the dtype of the gradients (layers/precision.hpp); it alone holds the
// part's master weights and optimizer moments and updates its weights, which then go back to the
// others. Gradients are received into buffers taken once; everything is sent from where it lies,
// and weights are received where they belong.
//
// The exchange of a group starts as soon as its gradients are final and advances between the
// actions that go on meanwhile. Groups larger than a decoder layer travel in pieces of that size,
// and at most `num_buffers` pieces are being received at once; further ones wait for their turn. On
// GPUs, which the host is far ahead of, it then keeps within a few layers of the computing stream:
// else it would find that nothing has come yet, and leave all but the first pieces to finish().
// Which gradients are final when must be the same on all replicas, as it is when they run one
// schedule. Nothing waits for a peer before finish(). What goes to and comes from the peers for one
// piece, or for a few groups' weights, is one group of messages: the same ones in the same order on
// all replicas, as NCCL needs (transport.hpp).
#pragma once

#include "core/arena.hpp"
#include "layers/gradient_observer.hpp"
#include "pipeline/executor.hpp"
#include "pipeline/host_pace.hpp"
#include "pipeline/stage.hpp"
#include "pipeline/tensor_checksums.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace sluice {

/// Checksums of the gradients that went to each owner in one update, folded into 40 bits so that
/// their sum over replicas is exact in a float64. What all replicas sent to an owner together must
/// be what it received.
struct ExchangeChecksums {
    std::vector<double> sent; ///< [R], by owner
    double received = 0.0;    ///< by this replica
};

class GradientExchange : public GradientObserver {
public:
    /// `peers`: rank r is replica r. The stage's moments must be shared out over as many.
    GradientExchange(Stage& stage, Transport& peers, VerifyTransfers verify);

    /// Whether there is anything to exchange: more than one replica.
    bool active() const { return peers_.num_ranks() > 1; }

    /// As Executor::rehearse(). Gradients stay as they are.
    void rehearse();

    /// The gradients of these parameters are final in this update. Starts the exchange of every
    /// group that is now complete.
    void gradients_done(std::span<const Parameter> parameters) override;
    /// Lets the exchange advance; cheap, never waits.
    void progress();
    /// All gradients are final: waits until this replica's parts hold the sums. The gradients of
    /// other replicas' parts keep what this replica alone has computed.
    void finish();
    /// Collective over the peers: sends the weights of this replica's parts and receives all
    /// others.
    void gather_weights();

    /// Pieces that are or were under way in this update.
    std::size_t num_begun() const { return num_started_; }

    /// For fault drills: flips one bit of the next piece that arrives.
    void inject_flip() { flip_next_ = true; }

    /// Of the exchange that finish() ended last. Blocks until the device has come to its end.
    const ExchangeChecksums& checksums();

private:
    struct Group {
        TensorView value, gradient; ///< [num_elements]
        std::size_t num_parameters = 0;
        std::size_t num_done = 0; ///< parameters whose gradients are final in this update
        std::size_t first_piece = 0, last_piece = 0; ///< places in pieces_
    };
    struct Piece {
        std::size_t group = 0;
        std::vector<ElementRange> parts; ///< [R], of the group's elements, by owner
    };
    struct Buffer {
        std::vector<TensorView> gradients; ///< [R - 1]: of the other replicas, in order
        std::vector<MessageId> received;   ///< [R - 1]
    };

    void cut_into_pieces(Group& group, std::size_t index, std::int64_t largest);
    std::size_t group_of(const Parameter& parameter) const;
    void start_what_is_ready();
    void start(std::size_t piece);
    void add_up(std::size_t piece);
    int replica_of(std::size_t other) const; ///< of buffer entry `other`
    TensorView part_of_gradient(const Piece& piece, int owner) const;
    void record(std::size_t sum, const TensorView& part, std::size_t piece);
    Buffer& buffer_of(std::size_t started) { return buffers_[started % buffers_.size()]; }

    Transport& peers_;
    Stream stream_;
    bool flip_next_ = false;
    Arena memory_;
    std::vector<Group> groups_;
    std::vector<Piece> pieces_;
    std::vector<Buffer> buffers_;
    std::optional<HostPace> pace_;   ///< a step for each group whose gradients are final
    std::vector<std::size_t> order_; ///< pieces in the order in which they became ready
    std::size_t num_started_ = 0, num_added_ = 0; ///< of order_
    std::vector<MessageId> under_way_; ///< sends of gradients; all messages of gather_weights()
    ExchangeChecksums checksums_;
    /// Sums [2 R]: sent to each replica, then received from each; none where nothing is verified.
    std::optional<TensorChecksums> sums_;
};

/// Bytes of a rank's buffers on `device` for gradients of `num_replicas` replicas.
std::size_t exchange_bytes(const ModelSpec& model, const Precision& precision, int num_replicas,
                           const Device& device);

} // namespace sluice

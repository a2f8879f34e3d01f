// One rank that talks to itself: every collective is already done, and messages are copied when
// both sides are there.

#include "core/error.hpp"
#include "pipeline/transport/transport.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sluice {

namespace {

class InProcessTransport final : public Transport {
public:
    int rank() const override { return 0; }
    int num_ranks() const override { return 1; }

    std::unique_ptr<Transport> split(int, int) override
    {
        return std::make_unique<InProcessTransport>();
    }

    MessageId send(const TensorView& tensor, int to_rank, MessageLabel label) override
    {
        return add(tensor, to_rank, label, Side::send);
    }
    MessageId receive(const TensorView& tensor, int from_rank, MessageLabel label) override
    {
        return add(tensor, from_rank, label, Side::receive);
    }

    void wait(MessageId message) override
    {
        if (message == 0)
            return;
        const std::size_t index = index_of(message);
        // Nobody else will ever provide the other side.
        SLUICE_CHECK(messages_[index].state == State::done,
                     (messages_[index].side == Side::send ? "sent" : "received")
                         << " without its partner: chunk " << messages_[index].label.chunk
                         << ", micro-batch " << messages_[index].label.microbatch);
        messages_[index].state = State::free;
    }

    bool is_done(MessageId message) override
    {
        return message == 0 || messages_[index_of(message)].state == State::done;
    }

    void progress() override {}
    void sum(std::span<double>) override {}
    void max(std::span<double>) override {}
    void broadcast(std::span<std::byte>, int root) override
    {
        SLUICE_CHECK(root == 0, "root " << root);
    }
    std::vector<std::string> gather_text(const std::string& text) override { return {text}; }
    void barrier() override {}

    [[noreturn]] void abort(int exit_code) override
    {
        std::fflush(nullptr);
        std::_Exit(exit_code);
    }

private:
    enum class Side : bool { send, receive };
    enum class State : std::uint8_t { free, waiting, done };
    struct Message {
        TensorView tensor;
        MessageLabel label;
        Side side = Side::send;
        State state = State::free;
        std::uint64_t order = 0; ///< messages with one label match in the order they were started
    };

    MessageId add(const TensorView& tensor, int peer, MessageLabel label, Side side)
    {
        SLUICE_CHECK(peer == 0, "rank " << peer << " of 1");
        const std::size_t index = free_entry();
        messages_[index] = {tensor, label, side, State::waiting, ++started_};
        if (Message* partner = partner_of(messages_[index])) {
            Message& sent = side == Side::send ? messages_[index] : *partner;
            Message& received = side == Side::send ? *partner : messages_[index];
            SLUICE_CHECK(sent.tensor.num_bytes() == received.tensor.num_bytes(),
                         sent.tensor.num_bytes()
                             << " bytes sent, " << received.tensor.num_bytes() << " expected");
            std::memmove(received.tensor.data, sent.tensor.data, sent.tensor.num_bytes());
            sent.state = received.state = State::done;
        }
        return static_cast<MessageId>(index) + 1;
    }

    std::size_t index_of(MessageId message) const
    {
        const auto index = static_cast<std::size_t>(message - 1);
        SLUICE_CHECK(index < messages_.size() && messages_[index].state != State::free,
                     "message " << message);
        return index;
    }

    std::size_t free_entry()
    {
        for (std::size_t i = 0; i < messages_.size(); ++i)
            if (messages_[i].state == State::free)
                return i;
        messages_.emplace_back();
        return messages_.size() - 1;
    }

    Message* partner_of(const Message& message)
    {
        Message* oldest = nullptr;
        for (Message& other : messages_)
            if (other.state == State::waiting && other.side != message.side &&
                other.label.chunk == message.label.chunk &&
                other.label.microbatch == message.label.microbatch &&
                other.label.gradient == message.label.gradient &&
                (oldest == nullptr || other.order < oldest->order))
                oldest = &other;
        return oldest;
    }

    std::vector<Message> messages_; ///< entries are reused: no allocation once enough are there
    std::uint64_t started_ = 0;
};

} // namespace

std::unique_ptr<Transport> make_in_process_transport()
{
    return std::make_unique<InProcessTransport>();
}

} // namespace sluice

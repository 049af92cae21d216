"""Questions about Lapwing and its commands: each topic has acts ("make a model smaller") that frames turn into questions.

Held out for evaluation: whole combinations of act and frame, and (separately reported) acts that no frame ever used.
"""

import hashlib

from task import Task

# For acts in the base form.
FRAMES = [
    "How do I {act}?", "How do I {act}?", "How can I {act}?", "How to {act}?", "how do i {act}", "I want to {act}.", "I would like to {act}.",
    "Which command do I use to {act}?", "What is the command to {act}?", "What command lets me {act}?", "Can lapwing {act}?",
    "Can Lapwing {act}?", "Is there a way to {act}?", "I need to {act}.", "Please tell me how to {act}.", "Show me how to {act}.",
    "How does one {act} with lapwing?", "With lapwing, how do I {act}?", "What do I type to {act}?", "Help me {act}.", "Can you help me {act}?",
    "what's the command to {act}?", "Tell me how I can {act}.", "Could you explain how to {act}?", "Is it possible to {act}?",
]
NAME_FRAMES = [
    "What does lapwing {name} do?", "What is lapwing {name}?", "How do I use lapwing {name}?", "What does `lapwing {name}` do?",
    "What is the {name} command for?", "Explain lapwing {name}.", "How does lapwing {name} work?", "Tell me about lapwing {name}.",
    "What is {name} in lapwing?", "When do I use lapwing {name}?", "What can I do with lapwing {name}?", "Help with lapwing {name}.",
]
# command: (answer, acts, acts kept out of training)
TOPICS = {
    "pull": (
        "Use `lapwing pull Qwen/Qwen3-8B-GGUF:Q4_K_M`. It downloads a model from Hugging Face, continues where it was interrupted and checks the file.",
        ["download a model", "get a model", "get Qwen3-8B", "download Qwen3-8B", "download Qwen3", "fetch a model from Hugging Face", "get a real model",
         "get a bigger model", "get a better model", "install a model", "download a GGUF file", "get the 8B model", "get a larger Qwen3",
         "pull a model from the hub", "continue an interrupted download"],
        ["fetch Qwen3-8B from the hub", "download a bigger model", "get a real Qwen3"],
    ),
    "list": (
        "Use `lapwing list`. It lists the models on this computer, with their sizes and where they are.",
        ["list my models", "see which models I have", "find the models on this computer", "show my models", "list the downloaded models",
         "see all models on my disk", "find out which models are installed", "see what models are here", "list the local models"],
        ["show all downloaded models", "see which models are on this computer"],
    ),
    "run": (
        "Use `lapwing run -m FILE -p \"your question\"`. It answers one prompt and ends.",
        ["answer one prompt", "ask a single question", "run a prompt", "run a model once", "use a model in a script", "get one answer from a model",
         "generate text from a prompt", "complete a text", "run one prompt from the shell", "pipe a prompt into a model", "answer a prompt from a file"],
        ["ask one question from the shell", "run a single prompt", "generate text in a script"],
    ),
    "chat": (
        "Use `lapwing chat -m FILE`. It opens a conversation; type /? for its commands and /bye to leave.",
        ["chat with a model", "start a chat", "have a conversation", "talk to a model", "open a conversation", "start a dialogue with a model",
         "talk with Qwen3", "chat with Qwen3-8B", "use the interactive mode", "have a long conversation with a model", "start the chat"],
        ["talk to Qwen3-8B", "start a conversation with a model"],
    ),
    "quantize": (
        "Use `lapwing quantize INPUT OUTPUT Q4_K_M`. INPUT is a Hugging Face directory or a GGUF file.",
        ["quantize a model", "make a model smaller", "convert a model to Q4_K_M", "convert safetensors to GGUF", "shrink a GGUF file",
         "turn a Hugging Face model into a GGUF", "make a Q4_K_M file", "make a Q8_0 file", "convert a checkpoint to GGUF", "reduce the size of a model",
         "quantize my own checkpoint", "convert a Hugging Face directory", "make a GGUF from safetensors", "quantize Qwen3 to Q6_K"],
        ["convert a model to Q8_0", "make my model smaller", "turn safetensors into GGUF"],
    ),
    "perplexity": (
        "Use `lapwing perplexity -m FILE -f TEXT`. It says how well the model predicts a text; lower is better.",
        ["measure the perplexity of a model", "compute perplexity", "see how well a model predicts a text", "measure the perplexity on a text",
         "find the perplexity of a file", "calculate perplexity", "test how well a model predicts my text", "get the perplexity"],
        ["measure perplexity on my text", "compute the perplexity of a model"],
    ),
    "compare": (
        "Use `lapwing compare REFERENCE MODEL -f TEXT`. It shows what a quantized model lost against its reference: KL divergence and perplexity.",
        ["compare two models", "see what quantization lost", "compare a quantized model with the original", "measure the KL divergence",
         "find out what a quantized file lost", "compare Q4_K_M with BF16", "measure the loss of quantization", "see how far two models differ",
         "check the quality of a quantized model"],
        ["compare a quantized file with its reference", "see what Q4_K_M lost"],
    ),
    "imatrix": (
        "Use `lapwing imatrix -m FILE -f TEXT -o OUT.gguf`, then give OUT.gguf to `lapwing quantize --imatrix`.",
        ["make an importance matrix", "compute an imatrix", "create an imatrix", "get an importance matrix for quantizing", "measure which weights matter",
         "make an imatrix file", "calculate the importance matrix of a model", "collect an imatrix from a text"],
        ["create an importance matrix", "compute the imatrix of a model"],
    ),
    "inspect": (
        "Use `lapwing inspect FILE`. It shows metadata, tensors, types and sizes of a GGUF file.",
        ["inspect a model file", "look into a GGUF file", "see the metadata of a model", "see the tensors of a file", "show the types of the tensors",
         "find out what is in a GGUF file", "read the metadata of a GGUF", "see the size of each tensor", "look at the metadata", "list the tensors of a model"],
        ["see what is in a model file", "show the metadata of a GGUF file"],
    ),
    "bench": (
        "Use `lapwing bench -m FILE`. It measures tokens per second for reading prompts and for generating.",
        ["measure the speed of a model", "benchmark a model", "see how fast a model is", "benchmark my computer", "test the speed", "run a benchmark",
         "find out how many tokens per second I get", "measure tokens per second", "see how fast my computer runs a model", "time a model"],
        ["measure how fast a model is", "benchmark Qwen3-8B"],
    ),
    "tokenize": (
        "Use `lapwing tokenize -m FILE -p TEXT`. It shows the tokens of a text and their numbers.",
        ["see the tokens of a text", "tokenize a text", "count the tokens of a text", "show token ids", "find out how many tokens a text has",
         "split a text into tokens", "see how a text is tokenized", "look at the tokens", "turn text into token ids"],
        ["show the tokens of my text", "count tokens"],
    ),
    "logits": (
        "Use `lapwing logits -m FILE -p TEXT -o OUT.safetensors`. It writes the logits of a text to a file.",
        ["write logits to a file", "get the logits of a text", "save logits", "export logits", "dump the logits", "see the logits of a model",
         "compare logits with another program", "store the logits as safetensors"],
        ["export the logits of a text", "save the logits to a file"],
    ),
    "isa": (
        "Use `lapwing isa`. It lists the instruction sets of this machine and the one in use.",
        ["see which instruction sets my processor has", "find out which instruction set is used", "list the instruction sets", "see if AVX-512 is used",
         "check whether my CPU has AVX2", "see what my CPU supports", "find out if my processor has AVX-512", "show the instruction sets"],
        ["see which instruction set is in use", "check if my CPU has AVX-512"],
    ),
    "-m": (
        "Give the file with -m, for example `lapwing chat -m Qwen3-8B-Q4_K_M.gguf`. Without -m the tiny demonstration model is used.",
        ["use another model", "use my own model file", "choose the model", "tell lapwing which model to use", "load a GGUF file", "select a model",
         "use a different model", "open my GGUF file", "switch to another model", "use the model I downloaded"],
        ["choose another model", "load my own GGUF file"],
    ),
    "--no-think": (
        "Add /no_think to your message, or start with `lapwing run --no-think`. /think switches thinking on again.",
        ["turn off thinking", "switch thinking off", "get answers without thinking", "disable thinking", "stop the model from thinking",
         "make it answer without thinking", "skip the thinking", "turn thinking off"],
        ["switch off the thinking", "disable the thinking"],
    ),
    "--help": (
        "Type `lapwing --help` for all commands, or `lapwing COMMAND --help` for the flags of one.",
        ["see all commands", "get help", "list all commands", "see the flags of a command", "find all options", "learn what lapwing can do",
         "see every command of lapwing", "read the help", "list the options of a command"],
        ["see all commands of lapwing", "find the flags of a command"],
    ),
}


def kept(topic, act, frame):
    """True for the combinations of act and frame that are never trained (one in eight)."""
    return hashlib.sha256(f"{topic}|{act}|{frame}".encode()).digest()[0] < 32


def task(topic, question):
    """The task of a question that belongs to a topic."""
    answer = TOPICS[topic][0]
    about = f"`lapwing {topic}`" if topic[0] != "-" else f"`{topic}`"
    think = f"This is a question about Lapwing. The answer is {about}."
    # The beginning names the command, and no two answers begin alike.
    return Task("usage", question, think, answer, expect={"says": answer[:22]})


def ask(rng, test=False, unseen=False):
    """A question about a command. `unseen`: an act that training does not have."""
    while True:
        topic = rng.choice(sorted(TOPICS))
        _, acts, new = TOPICS[topic]
        if topic[0] != "-" and not unseen and rng.random() < 0.2:
            act, frame = "", rng.choice(NAME_FRAMES)
            question = frame.format(name=topic)
        else:
            act, frame = rng.choice(new if unseen else acts), rng.choice(FRAMES)
            question = frame.format(act=act)
        if unseen or kept(topic, act, frame) == test:
            return task(topic, question)

